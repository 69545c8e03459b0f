"""Orders of certificates where something is wrong: with the authority, the folder, or the clock."""

import asyncio
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from headgate.acme import CertificateManager
from headgate.acme.challenges import validation_certificate
from headgate.acme.order import order
from headgate.acme.storage import StorageError, split

from .kit import free_port
from .kit.acme import Pebble, config, is_here, ordering, pebble, until
from .kit.pki import Authority
from .kit.small_disk import small_disk

pytestmark = pytest.mark.skipif(
    not is_here(), reason="no pebble here; hint: `make services` builds it with Go"
)

BELIEVES = {"PEBBLE_VA_ALWAYS_VALID": "1"}
"""Validations of which nothing is asked."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), free_port(), free_port(), environment=BELIEVES) as running:
        yield running


def orders(authority: Pebble) -> int:
    """How many orders it has got."""
    return (Path(authority.ca).parents[1] / "pebble.log").read_text().count("POST /order-plz")


@contextmanager
def saying(folder: Path, status: int, body: bytes, **headers: str) -> Iterator[tuple[Pebble, list[str]]]:
    """An authority whose every response is the same, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    pki = Authority(folder / "pki")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = pki.server(pki.issue("localhost")).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"https://localhost:{server.server_port}/dir"
        yield Pebble(url, pki.ca, 0, 0, "", "", ""), asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def with_certificate(manager: CertificateManager, name: str) -> bytes:
    """Puts a certificate of one week into its folder."""
    manager.storage.prepare()
    chain, key = split(validation_certificate(name, "any"))
    manager.storage.put_certificate(name, "ecdsa", chain, key)
    return chain


async def test_bad_nonces_and_slow_validation_only_take_time(tmp_path: Path) -> None:
    environment = {"PEBBLE_WFE_NONCEREJECT": "70", "PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "6"}
    with pebble(
        tmp_path / "pebble", free_port(), free_port(), environment={**environment, **BELIEVES}
    ) as slow:
        made = CertificateManager(config(slow), tmp_path / "acme", lambda: ["shop.test"])
        async with ordering(made):
            await until(lambda: made.storage.certificate("shop.test", "ecdsa"), "the certificate")
        log = (tmp_path / "pebble" / "pebble.log").read_text()
    assert log.count("HEAD /nonce-plz") > 3, "one each time that a nonce was spoilt"
    assert "before validating" in log


async def test_name_that_the_authority_rejects_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"domainBlocklist": ["a-blocked.test"]}
    with pebble(
        tmp_path / "pebble", free_port(), free_port(), environment=BELIEVES, settings=settings
    ) as strict:
        made = CertificateManager(config(strict), tmp_path / "acme", lambda: ["a-blocked.test", "shop.test"])
        async with ordering(made):
            await until(lambda: made.storage.certificate("shop.test", "ecdsa"), "the other certificate")
        entry = made.storage.state()["a-blocked.test ecdsa"]
    assert "rejectedIdentifier" in entry["problem"] and "gives no certificates for this name" in caplog.text


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>hotel login</html>"),
        (200, b"[]"),
        (200, b'{"newNonce": 7}'),
        (200, b'{"newNonce": "x", "newAccount": "y", "newOrder": "z"}'),
        (200, b"\xff\xfe\x00"),
        (500, b"oops"),
        (503, b"{}"),
    ],
)
async def test_garbage_of_the_authority_leaves_the_old_certificate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int, body: bytes
) -> None:
    with saying(tmp_path, status, body) as (garbage, asked):
        later = datetime.now(UTC) + timedelta(days=5)
        made = CertificateManager(
            config(garbage), tmp_path / "acme", lambda: ["shop.test"], now=lambda: later
        )
        chain = with_certificate(made, "shop.test")
        await made._round()
    found = made.storage.certificate("shop.test", "ecdsa")
    assert asked and found is not None and found.chain == chain
    assert "no certificate for shop.test (ecdsa), attempt 1" in caplog.text
    assert "Traceback" not in caplog.text


async def test_rate_limit_is_waited_for_and_the_authority_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates"}
    body = json.dumps(problem).encode()
    with saying(tmp_path, 429, body, Retry_After="7200") as (limited, asked):
        names = ["a.test", "b.test"]
        made = CertificateManager(config(limited), tmp_path / "acme", lambda: names)
        before = datetime.now(UTC)
        await made._round()
        assert len(asked) == 1, "the second name is not even asked for"
        first = datetime.fromisoformat(made.storage.state()["a.test ecdsa"]["retry_at"])
        assert first >= before + timedelta(hours=2)
        other = made.storage.state()["b.test ecdsa"]
        assert "left alone until" in other["problem"]
        assert datetime.fromisoformat(other["retry_at"]) > before + timedelta(minutes=55)
    assert "nothing is ordered for this name before 2 h have passed" in caplog.text


async def test_authority_that_is_away_for_a_week_is_told_of_ever_louder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = Pebble(f"https://127.0.0.1:{free_port()}/dir", str(tmp_path / "ca.pem"), 0, 0, "", "", "")
    Path(away.ca).write_text(Path(Authority(tmp_path / "pki").ca).read_text())
    passed = timedelta(0)
    begin = datetime.now(UTC)
    made = CertificateManager(
        config(away), tmp_path / "acme", lambda: ["shop.test"], now=lambda: begin + passed
    )
    chain = with_certificate(made, "shop.test")
    for hours in range(0, 24 * 7 + 1, 6):
        passed = timedelta(hours=hours)
        await made._round()
        found = made.storage.certificate("shop.test", "ecdsa")
        assert found is not None and found.chain == chain, "the old certificate serves"
    levels = [one.levelno for one in caplog.records if "no certificate for shop.test" in one.getMessage()]
    assert levels == sorted(levels) and {*levels} == {logging.WARNING, logging.ERROR, logging.CRITICAL}
    assert made.storage.state()["shop.test ecdsa"]["failures"] == len(levels) >= 5


async def test_certificate_of_six_days_is_ordered_once_in_two_days(tmp_path: Path) -> None:
    profiles = {"default": {"description": "6 days", "validityPeriod": 518400}}
    with pebble(
        tmp_path / "pebble",
        free_port(),
        free_port(),
        environment=BELIEVES,
        settings={"profiles": profiles},
    ) as short:
        passed = timedelta(0)
        made = CertificateManager(
            config(short), tmp_path / "acme", lambda: ["shop.test"], now=lambda: datetime.now(UTC) + passed
        )
        for hours in range(0, 48, 8):
            passed = timedelta(hours=hours)
            await made._round()
        assert orders(short) == 1
        passed = timedelta(days=4)
        await made._round()
        assert orders(short) == 2


async def test_clock_that_jumps_orders_no_certificate_for_ever(
    authority: Pebble, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jump = timedelta(0)
    made = CertificateManager(
        config(authority), tmp_path / "acme", lambda: ["jump.test"], now=lambda: datetime.now(UTC) + jump
    )
    await made._round()
    begun = orders(authority)
    for days in (400, 401, 405, -400, 0, 1):
        jump = timedelta(days=days)
        await made._round()
    assert orders(authority) == begun + 1, "one by the wrong clock, and then it is doubted"
    assert "hint: set the clock" in caplog.text


async def test_wait_that_a_wrong_clock_has_noted_is_not_waited_for(authority: Pebble, tmp_path: Path) -> None:
    made = CertificateManager(config(authority), tmp_path / "acme", lambda: ["wait.test"])
    made.storage.prepare()
    future = (datetime.now(UTC) + timedelta(days=300)).isoformat()
    made.storage.put_state({"wait.test ecdsa": {"failures": 3, "retry_at": future, "ask_at": future}})
    await made._round()
    assert made.storage.certificate("wait.test", "ecdsa")


async def test_account_that_the_authority_has_lost_is_made_anew(authority: Pebble, tmp_path: Path) -> None:
    jump = timedelta(0)
    made = CertificateManager(
        config(authority), tmp_path / "acme", lambda: ["lost.test"], now=lambda: datetime.now(UTC) + jump
    )
    await made._round()
    kept = made.storage.account(authority.directory)
    assert kept is not None
    (tmp_path / "acme" / "certificates" / "lost.test.pem").unlink()
    gone = {**kept, "uri": f"{kept['uri'].rpartition('/')[0]}/0123"}
    made.storage.put_account(authority.directory, gone)
    again = CertificateManager(
        config(authority), tmp_path / "acme", lambda: ["lost.test"], now=lambda: datetime.now(UTC) + jump
    )
    await again._round()
    assert again.storage.certificate("lost.test", "ecdsa") is None
    jump = timedelta(hours=1)
    await again._round()
    assert again.storage.certificate("lost.test", "ecdsa")
    assert again.storage.account(authority.directory) == kept, "the same key leads to the same account"


async def test_account_is_found_again_that_was_made_before_a_crash(authority: Pebble, tmp_path: Path) -> None:
    made = CertificateManager(config(authority), tmp_path / "acme", lambda: ["crash.test"])
    await made._round()
    kept = made.storage.account(authority.directory)
    assert kept is not None
    made.storage.put_account(authority.directory, {**kept, "uri": ""})
    (tmp_path / "acme" / "certificates" / "crash.test.pem").unlink()
    again = CertificateManager(config(authority), tmp_path / "acme", lambda: ["crash.test"])
    await again._round()
    assert again.storage.certificate("crash.test", "ecdsa")
    assert again.storage.account(authority.directory) == kept


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts disks")
async def test_disk_that_takes_no_file_costs_no_order(authority: Pebble, tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        made = CertificateManager(config(authority), disk.path / "acme", lambda: ["disk.test"])
        before = orders(authority)
        disk.fill()
        with pytest.raises(StorageError, match="hint: certificates are only ordered"):
            await made._round()
        disk.free()
        disk.make_read_only()
        with pytest.raises(StorageError, match=r"acme\.folder"):
            await made._round()
        assert orders(authority) == before
        disk.make_read_only(False)
        await made._round()
        assert made.storage.certificate("disk.test", "ecdsa") and orders(authority) == before + 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts disks")
async def test_certificate_that_cannot_be_written_is_kept_for_later_and_not_ordered_again(
    authority: Pebble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path) as disk:
        made = CertificateManager(config(authority), disk.path / "acme", lambda: ["full.test"])
        before = orders(authority)

        def ordered(*arguments: Any) -> bytes:
            chain = order(*arguments)
            disk.fill()
            return chain

        monkeypatch.setattr("headgate.acme.issuing.order", ordered)
        with pytest.raises(StorageError):
            await made._round()
        assert made.storage.certificate("full.test", "ecdsa") is None
        disk.free()
        await made._round()
        assert made.storage.certificate("full.test", "ecdsa") and orders(authority) == before + 1


def test_no_request_asks_for_must_staple() -> None:
    from acme import crypto_util
    from cryptography import x509

    from headgate.acme.order import new_key

    request = x509.load_pem_x509_csr(crypto_util.make_csr(new_key("ecdsa"), ["shop.test"]))
    kinds = [one.oid for one in request.extensions]
    assert kinds == [x509.SubjectAlternativeName.oid]


async def test_two_processes_that_order_at_once_do_so_one_after_the_other(
    authority: Pebble, tmp_path: Path
) -> None:
    both = [CertificateManager(config(authority), tmp_path / "acme", lambda: ["both.test"]) for _ in "ab"]
    before = orders(authority)
    await asyncio.gather(*(one._round() for one in both))
    await asyncio.gather(*(one._round() for one in both))
    assert orders(authority) == before + 1
    found = [one.storage.certificate("both.test", "ecdsa") for one in both]
    assert found[0] is not None and found[0] == found[1]
