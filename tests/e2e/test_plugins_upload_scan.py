"""upload-scan with a real c-icap and a real ClamAV; skipped only where Debian's packages are missing."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.client import RawClient
from e2e.kit.scanners import WORM, clamd, has_scanner, icap

pytestmark = pytest.mark.skipif(not has_scanner(), reason="needs c-icap and ClamAV; hint: `make services`")


class Scanner(NamedTuple):
    """Where it is."""

    url: str
    clamd: Path


@pytest.fixture(scope="module")
def scanner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scanner]:
    folder = tmp_path_factory.mktemp("scan")
    with clamd(folder) as socket, icap(folder, socket) as url:
        yield Scanner(url, socket)


def gateway_with(serve: Serve, origin: Origin, **config: Any) -> RunningGateway:
    use = {"plugin": "upload-scan", "config": config}
    return serve({"routes": [{"path": "/", "to": origin.address}], "plugins": [use]}, workers=2)


def upload(gateway: RunningGateway, body: bytes, kind: str = "application/octet-stream") -> int:
    with RawClient(gateway.address) as client:
        return client.request("POST", "/upload", [("Content-Type", kind)], body=body).status


def form(*files: bytes) -> bytes:
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="f%d"; filename="a.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n%s\r\n" % (number, data)
        for number, data in enumerate(files)
    ]
    return b"".join(parts) + b"--x--\r\n"


def test_worms_are_found_wherever_they_are(serve: Serve, origin: Origin, scanner: Scanner) -> None:
    gateway = gateway_with(serve, origin, icap=f"{scanner.url}/avscan")
    kind = "multipart/form-data; boundary=x"
    for body, of, status in (
        (b"hello", "text/plain", 200),
        (WORM, "text/plain", 403),
        (b"x" * 200_000 + WORM + b"y" * 200_000, "application/octet-stream", 403),
        (bytes(range(256)) * 4000, "application/octet-stream", 200),
        (form(b"fine", b"fine too"), kind, 200),
        (form(b"fine", b"\0" * 1000 + WORM), kind, 403),
        (base64.b64encode(WORM), "text/plain", 200),
    ):
        assert upload(gateway, body, of) == status, (body[:20], of)
    assert all(WORM not in call.read_body() for call in origin.calls) and len(origin.calls) == 4
    gateway.wait_for_log("Headgate.Test.Worm")


def test_many_uploads_at_once_get_their_own_verdicts(serve: Serve, origin: Origin, scanner: Scanner) -> None:
    gateway = gateway_with(serve, origin, icap=f"{scanner.url}/avscan", max_running=2)
    bodies = [(WORM if number % 3 == 0 else b"fine") + b"%d" % number * 5000 for number in range(24)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda body: upload(gateway, body), bodies))
    assert found == [403 if number % 3 == 0 else 200 for number in range(24)]


def test_a_service_that_echoes_finds_nothing_and_one_that_is_not_there_is_away(
    serve: Serve, origin: Origin, scanner: Scanner
) -> None:
    assert upload(gateway_with(serve, origin, icap=f"{scanner.url}/echo"), WORM) == 200
    gateway = gateway_with(serve, origin, icap=f"{scanner.url}/none")
    assert upload(gateway, b"fine") == 503
    gateway.wait_for_log("its status is 404")


def test_a_command_asks_clamd_itself(serve: Serve, origin: Origin, scanner: Scanner) -> None:
    config = scanner.clamd.with_name("clamd.conf")
    command = ["clamdscan", "--no-summary", f"--config-file={config}", "-"]
    gateway = gateway_with(serve, origin, command=command)
    assert [upload(gateway, one) for one in (b"fine", b"x" + WORM, form(WORM))] == [200, 403, 403]
    gateway.wait_for_log("Headgate.Test.Worm")
