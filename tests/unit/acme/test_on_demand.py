"""Certificates on demand: who decides, and which names are left to what is configured."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from e2e.kit.pki import Authority

from headgate import ConfigError, Gateway
from headgate._on_demand import OnDemand
from headgate.compile.on_demand import Served
from headgate.compile.order import compile_gateway
from headgate.config.acme_on_demand import OnDemandConfig
from headgate.config.tls import TlsConfig


def hello(name: str | None, *alpn: str) -> Any:
    return SimpleNamespace(server_name=name, alpn=list(alpn))


def pem(folder: Path, name: str) -> bytes:
    leaf = Authority(folder / f"pki-{name}").issue(name)
    return Path(leaf.chain).read_bytes() + Path(leaf.key).read_bytes()


def gateway(**acme: Any) -> Gateway:
    gate = Gateway()
    gate.listen("127.0.0.1:0", tls="auto")
    gate.listen("127.0.0.2:0")
    gate.acme(**acme)
    gate.route("/", respond="fine")
    return gate


def test_somebody_must_decide_and_only_one() -> None:
    with pytest.raises(ConfigError, match="asks nobody which names are allowed"):
        compile_gateway(gateway(on_demand={}))
    both = gateway(on_demand="http://10.0.0.5/allowed")
    both.acme_ask(lambda name: True)
    with pytest.raises(ConfigError, match="both"):
        compile_gateway(both)
    with pytest.raises(ConfigError, match="`acme_ask` is already defined"):
        both.acme_ask(lambda name: True)
    with pytest.raises(ConfigError, match="is called with a name"):
        gateway().acme_ask(lambda: True)  # type: ignore[type-var]
    with pytest.raises(ConfigError, match="is not a function"):
        gateway().acme_ask(7)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("allowed", "is not a valid URL"),
        ("ftp://a/b", "is not a valid URL"),
        ("http://a/b#c", "is not a valid URL"),
        ({"ask": "http://a", "max_orders": 0}, "max_orders"),
        ({"ask": "http://a", "wait": 0}, "wait"),
    ],
)
def test_settings_that_cannot_work_are_refused(said: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        OnDemandConfig.parse(said)


def test_listeners_with_ordered_certificates_have_the_hook_and_no_others() -> None:
    gate = gateway()
    assert "client_hello" not in [hook.phase for hook in compile_gateway(gate).hooks]
    gate.acme_ask(lambda name: True)
    hooks = [hook for hook in compile_gateway(gate).hooks if hook.phase == "client_hello"]
    assert [hook.name for hook in hooks] == ["certificates on demand"]
    assert hooks[0].deadline_ms == 10_000, "beyond the wait of 8 s"


def test_names_that_have_certificates_or_could_have_none_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "one.pem").write_bytes(pem(tmp_path, "one.test"))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "two.pem").write_bytes(pem(tmp_path, "two.test"))
    (tmp_path / "more" / "README").write_text("nothing")
    tls = TlsConfig.parse(
        {"certificates": ["one.pem", "more", "missing.pem"], "local": "app.dev", "acme": True}
    )
    served = Served(tls, ("shop.test", "*.wild.test"), tmp_path)
    for name in ("one.test", "two.test", "app.dev", "shop.test", "a.wild.test"):
        assert served(name), name
    for name in ("localhost", "nolabel", "10.0.0.1", "a.internal", "a.local", "::1", "a/../b.test", "_._"):
        assert served(name), name
    for name in (
        "A.test",
        "a.test.",
        "*.a.test",
        ".a.test",
        "a..test",
        "a.test\n",
        "a\0.test",
        "\u00e4.test",
    ):
        assert served(name), name
    for name in ("/etc/passwd", "..", "a.test/x", "a." * 100 + "test", f"{'a' * 64}.test", "1.2.3.4", ""):
        assert served(name), name
    assert not served("other.test") and not served("a.b.wild.test")
    (tmp_path / "more" / "three.pem").write_bytes(pem(tmp_path, "three.test"))
    assert served("three.test"), "a directory is looked at again when it has changed"


async def test_validations_and_clients_without_a_name_ask_nobody(tmp_path: Path) -> None:
    asked: list[str] = []
    hook = OnDemand(OnDemandConfig(), asked.append, tmp_path, lambda name: False)
    assert await hook.client_hello(hello("a.test", "acme-tls/1")) is None
    assert await hook.client_hello(hello(None)) is None
    assert asked == []


async def test_refusals_are_remembered_and_orders_bounded(tmp_path: Path) -> None:
    asked: list[str] = []
    hook = OnDemand(OnDemandConfig(wait=0.2), lambda name: asked.append(name), tmp_path, lambda name: False)
    for _ in range(3):
        assert await hook.client_hello(hello("a.test")) is None
    assert asked == ["a.test"]

    async def slowly(name: str) -> bool:
        asked.append(name)
        await asyncio.sleep(60)
        return True

    slow = OnDemand(OnDemandConfig(wait=0.2), slowly, tmp_path, lambda name: False)
    asked.clear()
    await asyncio.gather(*(slow.client_hello(hello(f"n{number}.test")) for number in range(150)))
    assert len(asked) == 100
    assert not (tmp_path / "wanted").exists()


async def test_file_that_is_no_certificate_is_told_and_not_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "on_demand").mkdir()
    (tmp_path / "on_demand" / "a.test.pem").write_text("garbage")
    hook = OnDemand(OnDemandConfig(), lambda name: False, tmp_path, lambda name: False)
    assert await hook.client_hello(hello("a.test")) is None
    assert "the certificate for `a.test` cannot be used" in caplog.text
