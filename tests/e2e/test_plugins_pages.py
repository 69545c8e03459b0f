"""Plugins that make responses of others, over real sockets: fragments, redirects, elements, operations, files."""

import gzip
import json
import resource
from pathlib import Path
from typing import Any

from e2e.kit import Call, Origin, RawClient, RunningGateway, Serve
from e2e.kit.behaviours import chunked, reply
from e2e.kit.http2 import Http2Client

PAGE = [("Content-Type", "text/html"), ("Surrogate-Control", 'content="ESI/1.0"')]


def document(origin: Origin, *plugins: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "upstreams": {"app": origin.address},
        "routes": [{"path": "/", "to": "app"}],
        "plugins": list(plugins),
        **more,
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


def test_pages_are_put_together_for_the_client_that_asks(serve: Serve, origin: Origin) -> None:
    text = (
        b'<p><esi:include src="/cart?x=1"/></p><esi:include src="/secret" onerror="continue"/><!--esi <b>-->'
    )
    origin.on("/page", chunked([text[at : at + 7] for at in range(0, len(text), 7)], fields=PAGE))

    def cart(call: Call) -> None:
        call.respond((call.get("cookie") or "nobody").encode(), fields=[("Content-Type", "text/plain")])

    origin.on("/cart", cart)
    origin.on("/secret", reply(b"secret"))
    gateway = serve(
        document(
            origin,
            {"plugin": "edge-side-includes", "config": {}},
            {"plugin": "key-auth", "on": "/secret", "config": {"keys": {"alice": "a-key-of-alice"}}},
        )
    )
    assert both_versions(gateway, "/page", ("cookie", "user=bob")) == (200, b"<p>user=bob</p> <b>")
    assert [call.target for call in origin.calls if call.target == "/secret"] == []


def test_redirects_end_at_what_they_lead_to(serve: Serve, origin: Origin) -> None:
    with Origin() as other:
        body = bytes(range(256)) * 1000
        other.on("/file", chunked([body[at : at + 9000] for at in range(0, len(body), 9000)]))
        origin.on("/a", reply(b"moved", status="302 Found", fields=[("Location", "/b")]))
        origin.on(
            "/b", reply(b"moved", status="307 X", fields=[("Location", f"http://{other.address}/file")])
        )
        origin.on("/circle", reply(b"", status="302 Found", fields=[("Location", "/circle")]))
        config = {"allow": [f"http://{other.address}"]}
        gateway = serve(document(origin, {"plugin": "follow-redirects", "config": config}))
        assert both_versions(gateway, "/a", ("cookie", "a=1"), ("authorization", "t")) == (200, body)
        assert both_versions(gateway, "/circle")[0] == 502
        assert {(call.get("cookie"), call.get("authorization")) for call in other.calls} == {(None, None)}


def test_a_body_without_a_length_is_sent_again_or_the_client_gets_the_redirect(
    serve: Serve, origin: Origin
) -> None:
    def echo(call: Call) -> None:
        call.respond(call.method.encode() + call.read_body())

    origin.on("/from", reply(b"moved", status="307 X", fields=[("Location", "/to")]))
    origin.on("/to", echo)
    config = {"methods": ["POST"], "max_body_bytes": 10}
    gateway = serve(document(origin, {"plugin": "follow-redirects", "config": config}))
    head = b"POST /from HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    for size, status, body in ((10, 200, b"POST" + b"x" * 10), (11, 307, b"moved"), (0, 200, b"POST")):
        chunks = b"%x\r\n%s\r\n" % (size, b"x" * size) if size else b""
        with RawClient(gateway.address) as client:
            client.send(head + chunks + b"0\r\n\r\n")
            response = client.response("POST")
        assert (response.status, response.body) == (status, body)
        with Http2Client(gateway.address) as client:
            stream = client.request("/from", method="POST", body=b"x" * size)
            found = client.response(stream)
        assert (found.status, found.body) == (status, body)


def test_elements_of_a_page_in_parts_are_changed(serve: Serve, origin: Origin) -> None:
    text = b"<!DOCTYPE html><html><head></head><body>" + b"<p>1</p>" * 2000 + b"<i>x</i></body></html>"
    origin.on("/page", chunked([text[at : at + 900] for at in range(0, len(text), 900)], fields=PAGE[:1]))
    origin.on("/plain", reply(b"<i>", fields=[("Content-Type", "text/plain")]))
    rules = [{"select": "i", "after": "<b>2</b>"}]
    gateway = serve(document(origin, {"plugin": "html-rewrite", "config": {"rules": rules}}))
    changed = text.replace(b"<i>x</i>", b"<i>x</i><b>2</b>")
    assert both_versions(gateway, "/page") == (200, changed)
    assert both_versions(gateway, "/plain") == (200, b"<i>")


MIDDLE = b"<p class=row>some text of a row</p>" * 1500


def test_a_page_larger_than_memory_streams(serve: Serve, origin: Origin) -> None:
    """50 MB pass in the memory of a few buffers, and what is at the end of them is changed."""
    pieces = [b"<html><body>", *[MIDDLE] * 1000, b"<i>x</i></body></html>"]
    size = sum(map(len, pieces))
    assert size > 50_000_000

    def behaviour(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % size)
        for piece in pieces:
            call.send(piece)

    origin.on("/large", behaviour)
    origin.on("/small", reply(b"<i>x</i>" * 2000, fields=PAGE[:1]))
    rules = [{"select": "i", "after": "<b>2</b>"}, {"select": "p.none", "remove": True}]
    gateway = serve(document(origin, {"plugin": "html-rewrite", "config": {"rules": rules}}))
    (worker,) = gateway.workers
    gateway.get("/small")
    before = resident(worker)
    highest = received = 0
    end = b""
    with RawClient(gateway.address) as client:
        client.send(b"GET /large HTTP/1.0\r\nHost: a\r\n\r\n")
        while data := client.socket.recv(1 << 18):
            received += len(data)
            end = (end + data)[-40:]
            highest = max(highest, resident(worker))
    assert end.endswith(b"<i>x</i><b>2</b></body></html>") and received > size
    assert highest - before < 8_000_000


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_tag_without_end_holds_bounded_memory(serve: Serve, origin: Origin) -> None:
    size = 30_000_000

    def behaviour(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % (size + 8))
        call.send(b"<p class")
        for _ in range(size // 100_000):
            call.send(b"x" * 100_000)

    origin.on("/endless", behaviour)
    # the buffer of a tag grows by pieces, and the allocator keeps many times what is in it for a while
    config = {"max_memory_bytes": 1 << 16, "rules": [{"select": "p.a", "remove": True}]}
    gateway = serve(document(origin, {"plugin": "html-rewrite", "config": config}))
    (worker,) = gateway.workers
    gateway.get("/small")
    before = resident(worker)
    highest = received = 0
    with RawClient(gateway.address) as client:
        client.send(b"GET /endless HTTP/1.0\r\nHost: a\r\n\r\n")
        while data := client.socket.recv(1 << 18):
            received += len(data)
            highest = max(highest, resident(worker))
    assert received > size and highest - before < 8_000_000
    gateway.wait_for_log("a page is not changed from some place on")


def test_pages_are_changed_whatever_their_coding_and_the_version(serve: Serve, origin: Origin) -> None:
    text, changed = b"<p>1</p>" * 5000, b"<p>2</p>" * 5000
    coded = [("Content-Encoding", "gzip"), ("ETag", '"1"'), *PAGE[:1]]
    origin.on("/coded", reply(gzip.compress(text), fields=coded))
    origin.on(
        "/part",
        reply(
            text[:100],
            status="206 Partial Content",
            fields=[("Content-Range", "bytes 0-99/40000"), *PAGE[:1]],
        ),
    )
    rules = [{"select": "p", "text": "2"}]
    gateway = serve(document(origin, {"plugin": "html-rewrite", "config": {"rules": rules}}))
    status, body = both_versions(gateway, "/coded", ("accept-encoding", "gzip"))
    assert (status, gzip.decompress(body)) == (200, changed)
    assert both_versions(gateway, "/part", ("range", "bytes=0-99")) == (206, text[:100])
    with RawClient(gateway.address) as client:
        response = client.request("GET", "/coded")
        assert response.get("etag") is None and gzip.decompress(response.body) == changed
        head = client.request("HEAD", "/coded")
    assert head.get("etag") is None and head.get("content-length") is None
    assert head.get("content-encoding") == "gzip"


def test_a_route_is_an_operation_of_graphql(serve: Serve, origin: Origin) -> None:
    def graph(call: Call) -> None:
        asked = json.loads(call.read_body())
        result = {
            "data": {"user": {"id": asked["variables"]["id"]} if asked["variables"]["id"] != "0" else None}
        }
        call.respond(json.dumps(result).encode(), fields=[("Content-Type", "application/json")])

    origin.on("/graphql", graph)
    plugin = {
        "plugin": "degraphql",
        "on": "/users/{id}",
        "config": {"operation": "query($id: ID!) { user(id: $id) { id } }", "unwrap": "data.user"},
    }
    routes = [{"path": "/users/{id}", "to": "app"}, {"path": "/", "to": "app"}]
    gateway = serve(document(origin, plugin, routes=routes))
    assert both_versions(gateway, "/users/7") == (200, b'{"id":"7"}')
    assert both_versions(gateway, "/users/0")[0] == 404


def test_mocks_reply_without_a_server(serve: Serve, origin: Origin, tmp_path: Path) -> None:
    said = {
        "openapi": "3.1.0",
        "paths": {"/a": {"get": {"responses": {"200": {"content": {"text/x": {"example": "mock"}}}}}}},
    }
    (tmp_path / "api.json").write_text(json.dumps(said))
    config = {"openapi": str(tmp_path / "api.json"), "unknown": "pass"}
    gateway = serve(document(origin, {"plugin": "mocking", "config": config}))
    assert both_versions(gateway, "/a") == (200, b"mock")
    assert [call for call in origin.calls if call.target == "/a"] == []
    origin.on("/other", reply(b"served"))
    assert both_versions(gateway, "/other") == (200, b"served")


def test_files_that_lie_compressed_are_served(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "a.css").write_bytes(b"a" * 5000)
    (tmp_path / "a.css.gz").write_bytes(gzip.compress(b"a" * 5000))
    routes = [{"name": "files", "path": "/", "files": str(tmp_path)}]
    plugins = [{"plugin": "precompressed", "on": "files", "config": {"root": str(tmp_path)}}]
    gateway = serve({"routes": routes, "plugins": plugins})
    status, body = both_versions(gateway, "/a.css", ("accept-encoding", "gzip"))
    assert (status, gzip.decompress(body)) == (200, b"a" * 5000)
    assert both_versions(gateway, "/a.css") == (200, b"a" * 5000)
    part = gateway.get("/a.css", [("Range", "bytes=0-9"), ("Accept-Encoding", "gzip")])
    assert (part.status, part.body, part.get("content-encoding")) == (
        206,
        (tmp_path / "a.css.gz").read_bytes()[:10],
        "gzip",
    )
