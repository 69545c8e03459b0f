"""Functions that fetch secrets: sync and async, what they may not do, and how their failures are told."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headgate import ConfigError, Gateway
from headgate.compile.loading import load
from headgate.config import resolvers
from headgate.config.resolvers import add_resolver
from headgate.config.secrets import resolved


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(resolvers, "_RESOLVERS", {})
    monkeypatch.setattr(resolvers, "_REMEMBERED", {})
    yield


async def waits(reference: str) -> str:
    await asyncio.sleep(0)
    return f"{reference}!"


def test_sync_and_async_functions_give_secrets() -> None:
    add_resolver("vault", waits)
    add_resolver("plain", str.upper)
    assert [resolved(text) for text in ("vault:a/b:c", "plain:x", "other:x", "vault")] == [
        "a/b:c!",
        "X",
        "other:x",
        "vault",
    ]


async def test_an_async_one_is_asked_from_within_a_loop_as_well() -> None:
    add_resolver("vault", waits)
    assert resolved("vault:a") == "a!"


def test_a_secret_is_fetched_once_for_all_that_read_it_at_a_time() -> None:
    calls: list[str] = []
    add_resolver("vault", lambda reference: calls.append(reference) or "s")
    assert [resolved("vault:a") for _ in range(3)] + [resolved("vault:b")] == ["s"] * 4
    assert calls == ["a", "b"]


def fails(reference: str) -> str:
    raise PermissionError("the vault is sealed")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (fails, "the secret `vault:x` cannot be resolved: PermissionError: the vault is sealed"),
        (lambda reference: "", "the resolver of `vault` gave no text for `vault:x`"),
        (lambda reference: None, "the resolver of `vault` gave no text for `vault:x`"),
        (lambda reference: b"bytes", "the resolver of `vault` gave no text for `vault:x`"),
    ],
)
def test_what_gives_no_secret_is_told(function: Callable[[str], Any], message: str) -> None:
    add_resolver("vault", function)
    with pytest.raises(ConfigError) as refused:
        resolved("vault:x")
    assert refused.value.message == message


def test_one_that_hangs_is_not_awaited_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolvers, "LIMIT_S", 0.05)
    ended = threading.Event()
    add_resolver("vault", lambda reference: str(ended.wait(30)))
    with pytest.raises(ConfigError, match=r"`vault:x` was not resolved within 0\.05 s"):
        resolved("vault:x")
    ended.set()


@pytest.mark.parametrize("scheme", ["env", "file", "sha256", "http", "Vault", "", "a b", "1x"])
def test_schemes_that_mean_something_else_are_refused(scheme: str) -> None:
    gate = Gateway()
    with pytest.raises(ConfigError, match="is not a valid scheme of secrets") as refused:
        gate.secrets(scheme)(waits)
    assert refused.value.file == __file__ and refused.value.hint


def test_a_file_names_its_functions(tmp_path: Path) -> None:
    (tmp_path / "my_vault.py").write_text("async def read(reference):\n    return f'{reference}-key'\n")
    file = tmp_path / "gate.yaml"
    text = "secret_resolvers: {vault: 'my_vault:read'}\nconsumers: {a: 'vault:a'}\nlisteners: ':8080'\n"
    file.write_text(text)
    assert load(file).config.consumers["a"].keys[0].get_secret_value() == "a-key"
    file.write_text(text.replace("my_vault:read", "my_vault:reed"))
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert refused.value.line == 1 and "`read`" in (refused.value.hint or "")
    file.write_text(text.replace("{vault:", "{file:"))
    with pytest.raises(ConfigError, match="is not a valid scheme of secrets") as refused:
        load(file)
    assert refused.value.line == 1
