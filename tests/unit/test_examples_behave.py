"""The examples do what they say, in the test kit."""

import asyncio
import gzip
from pathlib import Path

import pytest
from e2e.kit import free_port

from headgate import Response
from headgate.testing import Fault, Received, TestGateway

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_hello() -> None:
    with TestGateway(EXAMPLES / "hello.py", upstreams={"127.0.0.1:9000": "from the server"}) as gateway:
        assert gateway.get("/hello/Ada").text == "hello, Ada\n"
        assert gateway.get("/else").text == "from the server"


@pytest.mark.parametrize(
    ("path", "fields", "told"),
    [
        ("/shop/users", {"x-api-version": "2"}, "second /users"),
        ("/shop/users", {}, "first /users"),
        ("/api/v1/users", {}, "first /api/v1/users"),
        ("/api/v2/users", {}, "second /api/v2/users"),
        ("/api/%FF/users", {}, r'{"error":"there is no version \udcff"}'),
    ],
)
def test_api_versions(path: str, fields: dict[str, str], told: str) -> None:
    def tell(received: Received) -> str:
        return f"{received.upstream} {received.path}"

    with TestGateway(EXAMPLES / "api_versions.py", upstreams={"first": tell, "second": tell}) as gateway:
        assert gateway.get(path, fields).text == told


def test_error_pages() -> None:
    with TestGateway(EXAMPLES / "error_pages.py") as gateway:
        assert "There is nothing here" in gateway.get("/nowhere").text
        response = gateway.get("/shop/cart")
        assert response.status == 502 and "We will be back soon" in response.text
        assert response.headers["x-request-id"] in response.text
    with TestGateway(EXAMPLES / "error_pages.py", upstreams={"127.0.0.1:9000": Fault.HANG}) as gateway:
        pending = gateway.start("GET", "/shop/cart")
        gateway.until(lambda: gateway.received)
        gateway.advance("11s")
        assert "This takes too long" in pending.result().text


def test_function_matcher_sends_the_same_users_to_the_canary() -> None:
    with TestGateway(EXAMPLES / "function_matcher.py", upstreams={"stable": 200, "canary": 200}) as gateway:
        users = [f"user{n}" for n in range(200)]
        routes = [gateway.get("/", {"x-user": user}).route for user in users]
        assert 5 <= routes.count("canary") <= 40
        assert [gateway.get("/", {"x-user": user}).route for user in users] == routes
        assert gateway.get("/", [("x-user", "\udcff")]).status == 200


def test_key_auth() -> None:
    def tell(received: Received) -> str:
        return received.headers.get("x-user", "nobody")

    with TestGateway(EXAMPLES / "key_auth.py", upstreams={"127.0.0.1:9000": tell}) as gateway:
        assert gateway.get("/api/x").status == 401
        assert gateway.get("/api/x", {"x-api-key": "correct-horse", "x-user": "root"}).text == "alice"
        assert gateway.get("/open").text == "nobody"
        assert gateway.get("/open", {"x-user": "root"}).text == "nobody"
        assert gateway.get("/open", {"X_User": "root"}).text == "nobody"


def test_redirects() -> None:
    with TestGateway(EXAMPLES / "redirects.py", upstreams={"127.0.0.1:9000": 200}) as gateway:
        response = gateway.get("/x?y=1", {"host": "www.example.com"})
        assert response.headers["location"] == "https://example.com/x?y=1"
        assert gateway.get("/blog/one").headers["location"] == "/articles/one"
        assert gateway.get("/healthz").text == "ok\n"
        assert gateway.get("/private/x").status == 403


def test_streaming() -> None:
    with TestGateway(EXAMPLES / "streaming.py") as gateway:
        assert gateway.get("/ticks/2").body == b'data: {"tick": 0}\n\ndata: {"tick": 1}\n\n'
        assert [gateway.get(f"/ticks/{many}").status for many in ("many", "-5", "10000", "%D9%A3")] == [
            400
        ] * 4


def test_hooks() -> None:
    servers = {"api": Response(200, "ok", headers={"server": "secret"})}
    with TestGateway(EXAMPLES / "hooks.py", upstreams=servers) as gateway:
        assert gateway.get("/orders/1").status == 401
        response = gateway.get("/old/orders/1", {"authorization": "me"})
        assert response.text == "ok" and "server" not in response.headers
        assert gateway.received[-1].path == "/orders/1"
        assert gateway.received[-1].headers["x-attempt"] == "1"
    with TestGateway(EXAMPLES / "hooks.py") as gateway:
        response = gateway.get("/orders/1", {"authorization": "me"})
        assert response.json() == {"error": "connect_failed", "retry": True}


def test_socks5_carries_bytes_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("SOCKS_PORT", str(port))

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"echo " + await reader.read())
        writer.close()

    async def ask(target: int) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x05\x01\x00\x05\x01\x00\x03\x09localhost" + target.to_bytes(2))
        replies = await reader.readexactly(2 + 10)
        said = b""
        if replies[3] == 0:
            writer.write(b"hello")
            writer.write_eof()
            said = await reader.read()
        writer.close()
        return replies[:4], said

    async def both() -> list[tuple[bytes, bytes]]:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            return [await ask(server.sockets[0].getsockname()[1]), await ask(free_port())]

    with TestGateway(EXAMPLES / "socks5.py") as gateway:
        assert gateway.get("/healthz").text == "ok\n"
        told, refused = gateway.run(both())
    assert told == (b"\x05\x00\x05\x00", b"echo hello")
    assert refused == (b"\x05\x00\x05\x05", b"")


@pytest.mark.parametrize(
    ("fields", "body", "status"),
    [
        ({}, b'{"article": "tea-1", "count": 2}', 200),
        ({}, b'{"article": "tea-1"}', 422),
        ({}, b"[" * 100_000, 422),
        ({}, b"\xff", 422),
        ({"content-encoding": "gzip"}, b"no gzip", 400),
        ({"content-encoding": "gzip"}, gzip.compress(b'{"article": "tea-1", "count": 2}', mtime=0)[:-9], 400),
        ({"content-encoding": "snappy"}, b"{}", 400),
    ],
)
def test_validate_body_responds_to_whatever_comes(fields: dict[str, str], body: bytes, status: int) -> None:
    with TestGateway(EXAMPLES / "validate_body.py", upstreams={"127.0.0.1:9000": "taken"}) as gateway:
        assert gateway.request("POST", "/orders", fields, body=body).status == status


def test_validate_body_knows_a_program_by_its_first_bytes() -> None:
    with TestGateway(EXAMPLES / "validate_body.py", upstreams={"127.0.0.1:9000": "taken"}) as gateway:
        assert gateway.request("POST", "/uploads/x", body=b"\x7fELF program").status == 415
        assert gateway.request("POST", "/uploads/x", body=b"\x7fEL").status == 200


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ('{"id": 1, "cost": 2}', 200, '{"id":1}'),
        ('{"id": 1, "cost"', 502, "the server's JSON cannot be read\n"),
        ("[" * 100_000, 502, "the server's JSON cannot be read\n"),
        ("", 200, ""),
    ],
)
def test_json_fields_shows_nothing_that_it_cannot_read(body: str, status: int, told: str) -> None:
    server = Response(200, body, headers={"content-type": "application/json"})
    with TestGateway(EXAMPLES / "json_fields.py", upstreams={"127.0.0.1:9000": server}) as gateway:
        response = gateway.get("/api/x")
        assert (response.status, response.text) == (status, told)
