"""upload-scan: what is scanned, by commands and by ICAP servers, well-behaved or not."""

import asyncio
import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headgate import ConfigError, Gateway
from headgate.plugins import UploadScan
from headgate.plugins._icap import IcapError, Scan, icap_address, scan
from headgate.testing import TestGateway

SERVER = "server.test:80"
FORM = {"content-type": "multipart/form-data; boundary=x"}
SCANNER = (
    "import sys; data = sys.stdin.buffer.read(); print('Worm FOUND'); sys.exit(data.startswith(b'worm'))"
)
COMMAND = [sys.executable, "-c", SCANNER]


def running(**settings: Any) -> tuple[TestGateway, UploadScan]:
    gate = Gateway()
    gate.route("/", to=SERVER)
    plugin = UploadScan(**(settings or {"command": COMMAND}))
    gate.use(plugin)
    return TestGateway(gate, upstreams={SERVER: "ok"}), plugin


def part(data: str, name: str = "a", more: str = '; filename="f"') -> str:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{data}\r\n'


def test_what_a_command_finds_is_refused_and_told_to_the_log_only(caplog: pytest.LogCaptureFixture) -> None:
    gateway, plugin = running()
    with gateway:
        assert gateway.post("/", "fine").status == 200
        refused = gateway.post("/", "worm", {"content-type": "image/png"})
        assert (refused.status, refused.text) == (403, "the upload is refused\n")
        assert gateway.get("/").status == 200
        assert (plugin._scanned.value, plugin._infected.value) == (2, 1)
        assert [one.body for one in gateway.received] == [b"fine", b""]
    assert [vars(one)["found"] for one in caplog.records if one.message == "an upload is refused"] == [
        "Worm FOUND"
    ]


@pytest.mark.parametrize(
    ("body", "fields", "status"),
    [
        (part("fine") + part("worm", "b") + "--x--\r\n", FORM, 403),
        (part("fine") + part("fine", "b") + "--x--\r\n", FORM, 200),
        (part("worm" + "x" * 100, more="") + "--x--\r\n", FORM, 403),
        (part("worm"), FORM, 400),
        ("worm", FORM, 400),
        ("worm", {"content-type": "Multipart/Form-Data"}, 400),
        ("".join(part("fine", f"n{n}") for n in range(21)) + "--x--\r\n", FORM, 413),
    ],
)
def test_each_file_of_a_form_is_scanned_by_itself(body: str, fields: dict[str, str], status: int) -> None:
    gateway, _ = running()
    with gateway:
        assert gateway.post("/", body, fields).status == status
        assert len(gateway.received) == (status == 200)


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data; boundary=y; boundary=x",
        "multipart/form-data; boundary=y; BOUNDARY=x",
        "multipart/form-data; boundary*=us-ascii''y; boundary=x",
        "multipart/form-data; boundary=x; boundary*0=y",
        "multipart/form-data; boundary=x, y",
    ],
)
def test_a_form_with_two_boundaries_is_refused_since_servers_may_read_the_other(kind: str) -> None:
    other = part("worm").replace("--x", "--y", 1)
    with running()[0] as gateway:
        response = gateway.post("/", f"{part('fine')}--x--\r\n{other}--y--\r\n", {"content-type": kind})
        assert response.status in (400, 415) and gateway.received == []


def test_codings_are_undone_and_bounded() -> None:
    gateway, _ = running(command=COMMAND, max_body_bytes=1000)
    with gateway:
        coded = {"content-encoding": "gzip"}
        assert gateway.post("/", gzip.compress(b"worm"), coded).status == 403
        assert gateway.post("/", gzip.compress(b"0" * 1_000_000), coded).status == 413
        assert gateway.post("/", b"x" * 1001).status == 413
        assert gateway.post("/", "x", [("content-type", "a/b"), ("content-type", "c/d")]).status == 415


@pytest.mark.parametrize("command", [["sh", "-c", "exit 2"], ["sh", "-c", "kill -9 $$"], ["sleep", "20"]])
def test_without_a_verdict_uploads_are_refused_or_let_in_as_said(
    command: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for when_away, status in (("closed", 503), ("open", 200)):
        gateway, _ = running(command=command, timeout=0.2, when_away=when_away)
        with gateway:
            assert [gateway.post("/", "x").status for _ in range(2)] == [status] * 2
    assert sum("the scanner is unavailable" in one.message for one in caplog.records) == 2


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
CLEAN = b"ICAP/1.0 204 No Content\r\nISTag: x\r\n\r\n"
FOUND = b"ICAP/1.0 200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=Worm\x07.A;\r\nEncapsulated: res-hdr=0, "
SAME = b"ICAP/1.0 200 OK\r\nEncapsulated: req-hdr=0, req-body=4\r\n\r\nabcd"


async def asked(reply: bytes, body: bytes = b"upload") -> tuple[Scan, bytes]:
    """What a server's reply comes to, and what it was asked."""
    received = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        received = await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = await scan(icap_address(f"icap://127.0.0.1:{port}/scan"), body, target="/a", kind="a/b")
    return found, received


@pytest.mark.parametrize(
    ("reply", "is_clean", "finding"),
    [
        (CLEAN, True, ""),
        (FOUND + b"res-body=5\r\n\r\nHTTP/", False, "Worm?.A"),
        (b"ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, res-body=5\r\n\r\nHTTP/", False, "refused"),
        (SAME + b"6\r\nupload\r\n0\r\n\r\n", True, ""),
        (SAME + b"2;ext=1\r\nup\r\n4\r\nload\r\n0\r\n\r\n", True, ""),
        (SAME + b"6\r\nUPLOAD\r\n0\r\n\r\n", False, "refused"),
        (SAME + b"ffffffff\r\n", False, "refused"),
        (SAME + b"0\r\n\r\n", False, "refused"),
    ],
)
async def test_a_server_says_clean_or_found(reply: bytes, is_clean: bool, finding: str) -> None:
    found, received = await asked(reply)
    assert found == (is_clean, finding)
    head, _, rest = received.partition(b"\r\n\r\n")
    http, _, body = rest.partition(b"\r\n\r\n")
    assert head.startswith(b"REQMOD icap://127.0.0.1:") and b"\r\nAllow: 204\r\n" in head
    assert f"req-body={len(http) + 4}".encode() in head
    assert http == b"POST /a HTTP/1.1\r\nHost: upload\r\nContent-Type: a/b\r\nContent-Length: 6"
    assert body == b"6\r\nupload\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"ICAP/1.0 500 Server error\r\n\r\n",
        b"ICAP/1.0 404 Not found\r\n\r\n",
        b"ICAP/1.0 100 Continue\r\n\r\n",
        b"ICAP/1.0 204",
        b"x" * 100_000,
        b"ICAP/1.0 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        SAME,
        SAME + b"zz\r\n",
        SAME + b"6\r\nup",
        b"ICAP/1.0 200 OK\r\nEncapsulated: req-hdr=0, req-body=x\r\n\r\n",
        b"ICAP/1.0 200 OK\r\nEncapsulated: req-hdr=0, req-body=-1\r\n\r\n",
    ],
)
async def test_what_is_not_a_verdict_is_none(reply: bytes) -> None:
    with pytest.raises(IcapError):
        await asked(reply)


async def test_a_verdict_may_come_before_all_was_sent() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(FOUND + b"null-body=0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        address = icap_address(f"icap://127.0.0.1:{port}/scan")
        found = await scan(address, b"x" * 50_000_000, target="/", kind="a/b")
    assert not found.is_clean


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "a scanner is missing"),
        ({"icap": "icap://a/b", "command": ["true"]}, "a scanner is missing"),
        ({"icap": "http://127.0.0.1/avscan"}, "is not the URL of an ICAP service"),
        ({"icap": "icap://127.0.0.1"}, "is not the URL of an ICAP service"),
        ({"icap": "icap://127.0.0.1:99999/x"}, "is not the URL of an ICAP service"),
        ({"icap": "icap://a/b\r\nX: y"}, "is not the URL of an ICAP service"),
        ({"command": ["no-such-command-here"]}, "there is no command"),
        ({"command": []}, "command"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        UploadScan(**settings)


def test_paths_of_clients_cannot_write_the_head_of_a_scan(tmp_path: Path) -> None:
    gateway, plugin = running(icap="icap://127.0.0.1:1/x", timeout=1)
    told: list[str] = []

    async def noted(data: bytes, target: str, kind: str) -> Scan:
        told.append(f"{target} {kind}")
        return Scan(True, "")

    plugin._scan = noted  # type: ignore[method-assign]
    with gateway:
        gateway.post("/a%0d%0ab%C3%BC?x", "x", {"content-type": "text/plain\u00fc; x"})
    assert told == ["/a%0D%0Ab%C3%BC application/octet-stream"]
