"""Certificates ordered from a real ACME authority, and served by a real gateway."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from headgate.acme import CertificateManager
from headgate.acme.storage import Storage

from .kit import HEADGATE, Origin, Serve, eventually, free_port
from .kit.acme import Pebble, config, is_here, name_server, names_of, ordering, pebble, shown, until
from .kit.gateway import RunningGateway

pytestmark = pytest.mark.skipif(
    not is_here(), reason="no pebble here; hint: `make services` builds it with Go"
)

GATE = """
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.listen(SECURE, tls="auto")
gate.acme(folder=FOLDER, **ACME)


@gate.request
def refuse_everybody(request):
    return Response(401)


@gate.route("/", host=["shop.test", "*.shop.test"])
def shop(request):
    return Response(200, "shop")
"""


Ordered = Callable[..., CertificateManager]


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, ports: tuple[int, int]) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), *ports) as running:
        yield running


@pytest.fixture(autouse=True)
def paused(serve: Serve) -> Iterator[None]:
    """Agents that a test has paused end with their gateway."""
    yield
    while PAUSED:
        with contextlib.suppress(ProcessLookupError):  # it was not paused any more, and has ended
            os.kill(PAUSED.pop(), signal.SIGCONT)


PAUSED: list[int] = []


def started(serve: Serve, ports: tuple[int, int], folder: Path) -> RunningGateway:
    """A gateway whose workers serve what lies in the folder; its agent rests after a failure, so that tests order."""
    acme = {"email": "ops@shop.test", "directory": "https://127.0.0.1:1/dir"}
    names = {"SECURE": f"127.0.0.1:{ports[1]}", "FOLDER": str(folder), "ACME": acme}
    gateway = serve(GATE, names=names, listen=f"127.0.0.1:{ports[0]}")
    storage = Storage(folder)
    eventually(storage.state, gateway.log, within=60)
    eventually(lambda: is_free(storage), "the agent rests", within=60)
    PAUSED.append(gateway.ask()["agent"])
    os.kill(PAUSED[-1], signal.SIGSTOP)
    (folder / "state.json").unlink()
    return gateway


def is_free(storage: Storage) -> bool:
    """Whether nobody is ordering."""
    with storage.locked() as is_ours:
        return is_ours


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
async def test_certificate_is_ordered_and_served_although_hooks_refuse_everybody(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path, challenge: str
) -> None:
    gateway = started(serve, ports, tmp_path / "acme")
    assert gateway.get("/", host="shop.test").status == 401
    assert shown(ports[1], "shop.test") is None, "there is no certificate yet"
    manager = CertificateManager(
        config(authority, challenges=challenge), tmp_path / "acme", lambda: ["shop.test"]
    )
    async with ordering(manager):
        await until(lambda: names_of(shown(ports[1], "shop.test")) == ["shop.test"], "the new certificate")
    left = [path for path in (tmp_path / "acme" / "challenges").rglob("*") if path.is_file()]
    assert left == [], "challenges are taken away"
    assert "ops@shop.test" not in gateway.log()


async def test_certificate_that_is_due_is_renewed_and_its_key_kept_where_asked(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path
) -> None:
    started(serve, ports, tmp_path / "acme")
    moved = timedelta(0)
    manager = CertificateManager(
        config(authority, reuse_key=True, key_types=["ecdsa", "rsa"]),
        tmp_path / "acme",
        lambda: ["shop.test"],
        now=lambda: datetime.now(UTC) + moved,
    )

    def serials() -> list[int]:
        found = [manager.storage.certificate("shop.test", kind) for kind in ("ecdsa", "rsa")]
        return [x509.load_pem_x509_certificate(one.chain).serial_number for one in found if one]

    async with ordering(manager):
        await until(lambda: len(serials()) == 2, "both types of key")
        first, keys = serials(), [manager.storage.certificate("shop.test", kind) for kind in ("ecdsa", "rsa")]
        moved = timedelta(days=61)
        manager.wake()
        await until(lambda: not set(first) & set(serials()), "both are renewed")
        seen = await until(lambda: shown(ports[1], "shop.test"), "it is served")
        await until(
            lambda: (now := shown(ports[1], "shop.test")) and now.serial_number in serials(), "the new one"
        )
    again = [manager.storage.certificate("shop.test", kind) for kind in ("ecdsa", "rsa")]
    assert [one and one.key for one in again] == [one and one.key for one in keys]
    assert names_of(seen) == ["shop.test"]


async def test_second_authority_is_asked_where_the_first_is_away(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    started(serve, ports, tmp_path / "acme")
    away = f"https://127.0.0.1:{free_port()}/dir"
    given = config(
        authority, directory=away, fallback=[{"directory": authority.directory, "ca": authority.ca}]
    )
    manager = CertificateManager(given, tmp_path / "acme", lambda: ["shop.test"])
    async with ordering(manager):
        await until(lambda: names_of(shown(ports[1], "shop.test")) == ["shop.test"], "the certificate")


async def test_order_that_fails_says_why_and_is_tried_again_later(
    authority: Pebble, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = CertificateManager(config(authority), tmp_path / "acme", lambda: ["nowhere.test"])
    async with ordering(manager):
        entry = await until(lambda: manager.storage.state().get("nowhere.test ecdsa"), "the failure is kept")
    assert entry["failures"] == 1 and "nowhere.test" in entry["problem"]
    assert datetime.fromisoformat(entry["retry_at"]) > datetime.now(UTC)
    told = [record.getMessage() for record in caplog.records if record.name == "headgate.acme"]
    assert any("no certificate for nowhere.test" in line and "port 80" in line for line in told)


async def test_wildcards_are_proven_in_dns_beside_their_apex_and_along_a_cname(tmp_path: Path) -> None:
    names = ["shop.test", "*.shop.test", "moved.shop.test"]
    with (
        name_server(tmp_path / "named", "shop.test") as (host, port, secret),
        pebble(tmp_path / "pebble", free_port(), free_port(), dns=f"{host}:{port}") as authority,
    ):
        options = {"server": host, "port": str(port), "zone": "shop.test"}
        options |= {"key_name": "gate", "key_secret": secret}
        dns = {"provider": "rfc2136", "options": options, "servers": f"{host}:{port}"}
        manager = CertificateManager(
            config(authority, challenges="dns-01", dns=dns, names="*.shop.test"),
            tmp_path / "acme",
            lambda: names,
        )

        def found() -> list[tuple[str, ...]]:
            kept = [manager.storage.certificate(name, "ecdsa") for name in names]
            return [one.names for one in kept if one]

        async with ordering(manager):
            await until(lambda: len(found()) == 3, "three certificates")
        assert found() == [("shop.test",), ("*.shop.test",), ("moved.shop.test",)]


async def test_account_is_bound_to_the_authoritys_customer(tmp_path: Path) -> None:
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    settings = {"externalAccountBindingRequired": True, "externalAccountMACKeys": {"kid-1": key}}
    with pebble(tmp_path / "pebble", free_port(), free_port(), settings=settings) as authority:
        refused = CertificateManager(config(authority), tmp_path / "without", lambda: ["shop.test"])
        async with ordering(refused):
            entry = await until(lambda: refused.storage.state().get("shop.test ecdsa"), "the refusal")
        assert "acme.eab" in entry["problem"]
        bound = CertificateManager(
            config(authority, eab={"key_id": "kid-1", "key": key}), tmp_path / "with", lambda: ["shop.test"]
        )
        async with ordering(bound):
            entry = await until(lambda: bound.storage.state().get("shop.test ecdsa"), "an attempt")
        kept = bound.storage.account(authority.directory)
        assert kept is not None and kept["uri"] and "acme.eab" not in entry["problem"]


async def test_nothing_is_ordered_where_it_cannot_be_kept(
    authority: Pebble, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    manager = CertificateManager(config(authority), tmp_path / "file" / "acme", lambda: ["shop.test"])
    async with ordering(manager):
        await until(lambda: "certificates are not renewed" in caplog.text, "the reason")
    assert "acme.folder" in caplog.text


async def test_two_processes_on_one_folder_order_once(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "headgate.acme")
    started(serve, ports, tmp_path / "acme")
    both = [CertificateManager(config(authority), tmp_path / "acme", lambda: ["shop.test"]) for _ in "ab"]
    async with ordering(both[0]), ordering(both[1]):
        await until(lambda: both[0].storage.certificate("shop.test", "ecdsa"), "the certificate")
    assert caplog.text.count("is in force") == 1


def table(authority: Pebble, ports: tuple[int, int], *hosts: str) -> dict[str, Any]:
    return {
        "listeners": [f"127.0.0.1:{ports[0]}", {"address": f"127.0.0.1:{ports[1]}", "tls": "auto"}],
        "acme": {"directory": authority.directory, "ca": authority.ca, "email": "ops@shop.test"},
        "routes": [{"host": host, "respond": "shop"} for host in hosts],
    }


async def test_gateway_orders_what_its_routes_name_and_what_a_reload_adds(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path
) -> None:
    gateway = serve(
        table(authority, ports, "one.shop.test", "~^.*$", "app.localhost"),
        environment={"HEADGATE_STATE_DIR": str(tmp_path / "state")},
        listen=f"127.0.0.1:{ports[0]}",
    )
    await until(lambda: names_of(shown(ports[1], "one.shop.test")) == ["one.shop.test"], gateway.log())
    gateway.write(table(authority, ports, "one.shop.test", "two.shop.test"))
    done = gateway.cli("reload")
    assert done.returncode == 0, done.stderr
    await until(lambda: names_of(shown(ports[1], "two.shop.test")) == ["two.shop.test"], gateway.log())
    kept = sorted(path.name for path in (tmp_path / "state" / "acme" / "certificates").iterdir())
    assert kept == ["one.shop.test.pem", "two.shop.test.pem"]
    assert gateway.cli("stop").returncode == 0


async def test_certificates_serve_while_the_authority_and_the_agent_are_gone(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path
) -> None:
    gateway = serve(
        table(authority, ports, "one.shop.test"),
        environment={"HEADGATE_STATE_DIR": str(tmp_path / "state")},
        listen=f"127.0.0.1:{ports[0]}",
    )
    await until(lambda: names_of(shown(ports[1], "one.shop.test")) == ["one.shop.test"], gateway.log())
    killed = gateway.ask()["agent"]
    os.kill(killed, signal.SIGKILL)
    assert names_of(shown(ports[1], "one.shop.test")) == ["one.shop.test"]
    again = await until(lambda: (now := gateway.ask()["agent"]) and now != killed and now, gateway.log())
    assert names_of(shown(ports[1], "one.shop.test")) == ["one.shop.test"] and again != killed


async def test_account_has_the_email(authority: Pebble, tmp_path: Path) -> None:
    manager = CertificateManager(config(authority, email="on-call@shop.test"), tmp_path / "acme", list)
    client = await asyncio.to_thread(_prepared, manager)
    account = await asyncio.to_thread(client.query_registration, client.net.account)
    assert account.body.contact == ("mailto:on-call@shop.test",)


def _prepared(manager: CertificateManager) -> Any:
    manager.storage.prepare()
    return manager._issuer.authorities[0].client()


async def test_profile_and_preferred_chain_are_asked_for(
    serve: Serve, ports: tuple[int, int], tmp_path: Path
) -> None:
    started(serve, ports, tmp_path / "acme")
    profiles = {
        "default": {"description": "90 days", "validityPeriod": 7776000},
        "shortlived": {"description": "6 days", "validityPeriod": 518400},
    }
    with pebble(
        tmp_path / "pebble",
        *ports,
        environment={"PEBBLE_ALTERNATE_ROOTS": "1"},
        settings={"profiles": profiles},
    ) as authority:
        other = await asyncio.to_thread(authority.alternative_root)
        settings = config(authority, profile="shortlived", preferred_chain=other)
        manager = CertificateManager(settings, tmp_path / "acme", lambda: ["shop.test"])
        async with ordering(manager):
            found = await until(lambda: manager.storage.certificate("shop.test", "ecdsa"), "the certificate")
    assert timedelta(days=5) < found.not_after - found.not_before < timedelta(days=7)
    last = x509.load_pem_x509_certificates(found.chain)[-1]
    assert [one.value for one in last.issuer] == [other]


async def test_authority_is_asked_when_to_renew_no_more_often_than_it_says(
    serve: Serve, authority: Pebble, ports: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(serve, ports, tmp_path / "acme")
    manager = CertificateManager(config(authority), tmp_path / "acme", lambda: ["shop.test"])
    asked: list[bytes] = []
    real = manager._issuer.authorities[0].renewal_time

    def counted(chain: bytes) -> Any:
        asked.append(chain)
        return real(chain)

    monkeypatch.setattr(manager._issuer.authorities[0], "renewal_time", counted)
    async with ordering(manager):
        entry = await until(
            lambda: (
                (found := manager.storage.state().get("shop.test ecdsa")) and found.get("ask_at") and found
            ),
            "what the authority says is kept",
        )
    for _ in range(3):
        await manager._round()
    assert len(asked) == 1 and datetime.fromisoformat(entry["renew_at"]) > datetime.now(UTC)


def test_proxy_of_a_public_name_needs_nothing_else(
    authority: Pebble, ports: tuple[int, int], tmp_path: Path, origin: Origin
) -> None:
    url, log = f"https://proxied.test:{ports[1]}", tmp_path / "log"
    command = [
        str(HEADGATE),
        "proxy",
        url,
        "--to",
        origin.address,
        "--workers",
        "2",
        "--email",
        "ops@proxied.test",
    ]
    command += ["--acme-directory", authority.directory, "--acme-ca", authority.ca]
    folders = {"HEADGATE_RUNTIME_DIR": str(tmp_path / "run"), "HEADGATE_STATE_DIR": str(tmp_path / "state")}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | folders)
    try:
        eventually(
            lambda: names_of(shown(ports[1], "proxied.test")) == ["proxied.test"], log.read_text, within=90
        )
        # the other worker reads the new certificate within a second
        curl = ["curl", "-sSk", "--resolve", f"proxied.test:{ports[1]}:127.0.0.1", f"{url}/hello"]
        eventually(lambda: subprocess.run(curl, timeout=20, check=False).returncode == 0, log.read_text)
        seen = origin.wait_for("/hello")
        assert (seen.get("x-forwarded-proto"), seen.get("host")) == ("https", f"proxied.test:{ports[1]}")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0, log.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["https://localhost:1", "--email", "a@b.test"],
            "--email is for a public name, and `https://localhost:1`",
        ),
        ([":8080", "--staging"], "--staging is for a public name"),
        (["https://10.0.0.1", "--acme-directory", "zerossl"], "--acme-directory is for a public name"),
        (["https://a.test", "--acme-ca", "missing.pem"], "missing.pem` does not exist"),
        (["https://a.test", "--email", "nobody"], "email"),
        (["https://a.test", "--acme-directory", "zerosl"], "hint: did you mean `zerossl`?"),
    ],
)
def test_options_of_orders_are_checked(arguments: list[str], words: str, tmp_path: Path) -> None:
    folders = {"HEADGATE_RUNTIME_DIR": str(tmp_path / "run"), "HEADGATE_STATE_DIR": str(tmp_path / "state")}
    done = subprocess.run(
        [str(HEADGATE), "proxy", *arguments, "--to", "a:1"],
        env=os.environ | folders,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2 and words in done.stderr, done.stderr
