"""Plugins that change messages, over real sockets: both versions of HTTP, bodies in parts, processes that compute."""

import gzip
import io
import json
import struct
import threading
import zlib
from typing import Any

import pytest
from e2e.kit import Call, Origin, RawClient, RunningGateway, Serve
from e2e.kit.behaviours import chunked, gated, reply
from e2e.kit.http2 import Http2Client
from e2e.kit.pull import TOKEN, PullWorker
from PIL import Image

from headgate.plugins._decoding import decoder

JSON = ("content-type", "application/json")
PLAIN_JSON = [("Content-Type", "application/json")]
PNG = [("Content-Type", "image/png")]


def document(origin: Origin, *plugins: dict[str, Any]) -> dict[str, Any]:
    return {
        "upstreams": {"app": origin.address},
        "routes": [{"path": "/", "to": "app"}],
        "plugins": list(plugins),
    }


def both_versions(
    gateway: RunningGateway,
    path: str,
    *fields: tuple[str, str],
    method: str = "GET",
    body: bytes | None = None,
) -> tuple[int, bytes]:
    """Status and body, which are the same for a client of each version."""
    with RawClient(gateway.address) as client:
        first = client.request(method, path, fields, body=body)
    with Http2Client(gateway.address) as client:
        second = client.response(client.request(path, method=method, fields=fields, body=body))
    assert second.is_ended and (first.status, first.body) == (second.status, second.body)
    return first.status, first.body


def declared(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and has nothing of it."""
    head = b"IHDR" + struct.pack("!IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = b"".join(
        struct.pack("!I", len(one) - 4) + one + struct.pack("!I", zlib.crc32(one))
        for one in (head, b"IDAT", b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_programs_change_bodies_and_those_without_an_end_harm_nobody(serve: Serve, origin: Origin) -> None:
    def echo(call: Call) -> None:
        call.respond(call.read_body(), fields=[("Content-Type", "application/json")])

    origin.on("/orders", echo)
    origin.on("/endless", echo)
    program = {"request": {"program": "{n: .a}"}, "response": {"program": "{m: .n, p: (.n | type)}"}}
    endless = {"request": {"program": "def f: f; f"}, "timeout": 0.2}
    gateway = serve(
        document(
            origin,
            {"plugin": "jq", "on": "/orders", "config": program},
            {"plugin": "jq", "on": "/endless", "config": endless},
        )
    )
    body = b'{"a": 12345678901234567890}'
    made = b'{"m":12345678901234567890,"p":"number"}'
    assert both_versions(gateway, "/orders", JSON, method="POST", body=body) == (200, made)
    with RawClient(gateway.address) as client:
        client.send(
            b"POST /endless HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        )
        assert gateway.get("/other").status == 200
        assert client.response("POST").status == 413
    assert both_versions(gateway, "/orders", JSON, method="POST", body=body) == (200, made)
    assert len([call for call in origin.calls if call.target == "/endless"]) == 0


def test_bodies_change_their_format_in_both_directions(serve: Serve, origin: Origin) -> None:
    seen: list[tuple[str | None, bytes]] = []

    def respond(call: Call) -> None:
        seen.append((call.get("content-type"), call.read_body()))
        chunked([b'[{"id": 1, "name": "a, ', b'b"}, {"id": 2, "name": null}]'], fields=PLAIN_JSON)(call)

    origin.on("/import", respond)
    config = {
        "request": {"template": "n={{ body | length }}&first={{ body[0].name }}", "output": "form"},
        "response": {
            "template": "id,name\r\n{% for one in body %}{{ one.id }},{{ one.name }}\r\n{% endfor %}",
            "output": "csv",
        },
    }
    gateway = serve(document(origin, {"plugin": "body-transformer", "on": "/import", "config": config}))
    told = both_versions(
        gateway,
        "/import",
        ("content-type", "application/yaml"),
        method="POST",
        body=b"- name: a&b=c\n- name: d\n",
    )
    assert told == (200, b'id,name\r\n1,"a, b"\r\n2,\r\n')
    assert seen == [("application/x-www-form-urlencoded", b"n=2&first=a%26b%3Dc")] * 2
    refused = both_versions(
        gateway, "/import", ("content-type", "application/yaml"), method="POST", body=b"- &a x\n- *a\n"
    )
    assert refused[0] == 400 and len(seen) == 2


def test_json_in_parts_is_changed_whole(serve: Serve, origin: Origin) -> None:
    text = json.dumps({"list": list(range(30_000)), "secret": "x"}).encode()
    pieces = [text[at : at + 1000] for at in range(0, len(text), 1000)]
    origin.on("/data", chunked(pieces, fields=[("Content-Type", "application/json")]))
    merge = {"response": {"merge": {"secret": None}}}
    gateway = serve(document(origin, {"plugin": "json-patch", "config": merge}))
    status, body = both_versions(gateway, "/data")
    assert status == 200 and json.loads(body) == {"list": list(range(30_000))}


def test_coded_responses_stream_decoded_and_bombs_do_not(serve: Serve, origin: Origin) -> None:
    text = b"".join(b"%d," % number for number in range(100_000))
    coded, bomb = gzip.compress(text), gzip.compress(bytes(200 << 20))
    fields = [("Content-Type", "text/x"), ("Content-Encoding", "gzip")]
    origin.on("/text", chunked([coded[at : at + 5000] for at in range(0, len(coded), 5000)], fields=fields))
    origin.on("/bomb", reply(bomb, fields=fields))
    gateway = serve(document(origin, {"plugin": "decompression", "config": {}}))
    assert both_versions(gateway, "/text") == (200, text)
    assert both_versions(gateway, "/text", ("accept-encoding", "gzip")) == (200, coded)
    assert gateway.get("/bomb").status == 502
    assert gateway.get("/text").body == text


def test_images_are_made_by_workers_that_pull(serve: Serve, origin: Origin) -> None:
    out = io.BytesIO()
    Image.effect_noise((400, 200), 50).save(out, "PNG")
    picture = out.getvalue()
    origin.on(
        "/cat.png", chunked([picture[at : at + 9000] for at in range(0, len(picture), 9000)], fields=PNG)
    )
    origin.on("/bomb.png", reply(declared(30_000, 30_000), fields=PNG))
    said = document(
        origin, {"plugin": "image-resize", "on": "/*.png", "config": {"workers": "images", "sizes": [100]}}
    )
    said["plugins"][0]["on"] = "pictures"
    said["upstreams"]["images"] = {"balance": "pull", "pull": {"tokens": [TOKEN], "wait": "10s"}}
    said["routes"] = [
        {"path": "/_workers", "to": "images"},
        {"name": "pictures", "path": "/", "to": "app"},
    ]
    gateway = serve(said)
    with PullWorker(gateway, handler="headgate.pull.images:resize"):
        status, body = both_versions(gateway, "/cat.png?w=100")
        assert status == 200 and Image.open(io.BytesIO(body)).size == (100, 50)
        assert both_versions(gateway, "/bomb.png?w=100")[0] == 502
        assert both_versions(gateway, "/cat.png?w=101")[0] == 400
        assert both_versions(gateway, "/cat.png") == (200, picture)
    assert [call.target for call in origin.calls if "w=" in call.target] == []


def test_a_range_of_what_is_compressed_is_the_whole(serve: Serve, origin: Origin) -> None:
    text = b"".join(b"%d," % number for number in range(10_000))

    def part(call: Call) -> None:
        fields = [("Content-Type", "text/x"), ("Accept-Ranges", "bytes"), ("ETag", '"1"')]
        if call.get("range") is None:
            call.respond(text, fields=fields)
        else:
            call.respond(
                text[:10],
                status="206 Partial Content",
                fields=[*fields, ("Content-Range", "bytes 0-9/48890")],
            )

    origin.on("/file", part)
    gateway = serve(document(origin, {"plugin": "compression", "config": {"types": ["*"]}}))
    fields = [("accept-encoding", "gzip"), ("range", "bytes=0-9")]
    status, body = both_versions(gateway, "/file", *fields)
    assert (status, gzip.decompress(body)) == (200, text)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_events_arrive_before_the_next_one_is_sent(serve: Serve, origin: Origin, coding: str) -> None:
    gate = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    origin.on("/events", gated(gate, head + b"9\r\ndata: 1\n\n\r\n", b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"))
    gateway = serve(document(origin, {"plugin": "compression", "config": {"codings": [coding]}}))
    stream = decoder(coding)
    try:
        with RawClient(gateway.address) as client:
            client.send(f"GET /events HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n".encode())
            assert client.head().get("content-encoding") == coding
            event = b""
            while event != b"data: 1\n\n":
                size = int(client.read_until(b"\r\n").strip() or client.read_until(b"\r\n"), 16)
                event += stream.decoded(client.read_exactly(size), 1000)
    finally:
        gate.set()
