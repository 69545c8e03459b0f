"""Health checks of every type: what they send, and whom they take to be well."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually, free_port
from e2e.kit.http2_server import Http2Server, Stream
from e2e.kit.http3_server import Http3Request, Http3Server
from e2e.kit.pki import Authority
from e2e.kit.services import PostgresServer, redis

H3_REQUEST_REJECTED = 0x10B

Talk = Callable[[socket.socket], None]


@contextlib.contextmanager
def talking(talk: Talk) -> Iterator[str]:
    """A server that does this with each connection, all at once; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            talk(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=10)


def gateway_of(serve: Serve, upstreams: dict[str, dict[str, Any]], **files: str) -> RunningGateway:
    """A gateway with these upstreams, each with `servers`, `health` and what else it needs."""
    made = {
        name: {
            **upstream,
            "health": {"interval": "200ms", "timeout": "200ms", "fall": 1, **upstream["health"]},
        }
        for name, upstream in upstreams.items()
    }
    names = list(made)
    return serve(
        {"upstreams": made, "routes": [{"path": f"/{name}", "to": name} for name in names]}, files=files
    )


def expect(gateway: RunningGateway, **states: str) -> None:
    """Every upstream's server comes to be so."""

    def found() -> dict[str, str]:
        return {one["upstream"]: one["check"] for one in gateway.ask()["servers"]}

    eventually(lambda: found() == states, lambda: f"{found()} is {states}\n{gateway.log()}", within=20)


def test_http_over_tls_is_verified_as_requests_are(serve: Serve, authority: Authority) -> None:
    leaf = authority.issue("app.test")
    expired = authority.issue("127.0.0.1", days=(-9, -1))
    ca = str(authority.ca)
    with Origin(tls=authority.server(leaf)) as good, Origin(tls=authority.server(expired)) as old:
        named = {"ca": ca, "server_name": "app.test"}
        health = {"health": {"path": "/healthz"}}
        of_good = {"servers": f"https://{good.address}", **health}
        gateway = gateway_of(
            serve,
            {
                "good": {**of_good, "tls": named},
                "other_name": {**of_good, "tls": {"ca": ca}},
                "untrusted": {**of_good, "tls": {"server_name": "app.test"}},
                "unverified": {**of_good, "tls": {"verify": False}},
                "pinned": {**of_good, "tls": {**named, "pins": leaf.key_fingerprint}},
                "pinned_other": {**of_good, "tls": {**named, "pins": expired.fingerprint}},
                "expired": {"servers": f"https://{old.address}", **health, "tls": {"ca": ca}},
                "handshake": {
                    "servers": good.address,
                    "health": {"type": "tls"},
                },
            },
        )
        expect(
            gateway,
            good="up",
            other_name="down",
            untrusted="down",
            unverified="up",
            pinned="up",
            pinned_other="down",
            expired="down",
            handshake="down",
        )
        gateway.wait_for_log("its certificate is not valid: certificate has expired .*upstream=expired")
        gateway.wait_for_log("none of those that are pinned upstream=pinned_other")


def test_http2_is_spoken_where_requests_speak_it(serve: Serve) -> None:
    def well(stream: Stream) -> None:
        stream.respond(b"fine", fields=[("x-role", "primary")])

    def turns_away_first(stream: Stream) -> None:
        if stream.connection.number % 2 == 0:
            stream.connection.goaway(0)
        else:
            well(stream)

    with (
        Http2Server(well) as good,
        Http2Server(lambda stream: stream.respond(status=503)) as bad,
        Http2Server(turns_away_first) as restarting,
    ):
        health = {"path": "/healthz?x", "body": "fine", "response_headers": {"X-Role": "primary"}}
        gateway = gateway_of(
            serve,
            {
                name: {"servers": server.address, "protocol": "h2", "health": health}
                for name, server in (("good", good), ("bad", bad), ("restarting", restarting))
            },
        )
        expect(gateway, good="up", bad="down", restarting="up")
        eventually(lambda: len(restarting.requests) >= 8, "it is checked on")
        assert "is down: it closes" not in gateway.log()
        request = good.requests[0]
        assert (request.get(":path"), request.get(":authority")) == ("/healthz?x", good.address)


def test_http3_is_spoken_where_requests_speak_it(serve: Serve, authority: Authority) -> None:
    leaf = authority.issue("app.test")
    times = iter(range(10_000))

    def well(request: Http3Request) -> None:
        request.respond(b"fine", fields=[("x-role", "primary")])

    def turns_every_second_away(request: Http3Request) -> None:
        if next(times) % 2 == 0:
            request.reset(H3_REQUEST_REJECTED)
        else:
            well(request)

    def grpc(request: Http3Request) -> None:
        assert request.body == b"\0\0\0\0\x03\x0a\x01a"
        fields = [("content-type", "application/grpc")]
        request.respond(b"\0\0\0\0\x02\x08\x01", fields=fields, trailers=[("grpc-status", "0")])

    with (
        Http3Server(leaf, well) as good,
        Http3Server(leaf, lambda request: request.respond(status=503)) as bad,
        Http3Server(leaf, turns_every_second_away) as restarting,
        Http3Server(leaf, grpc) as service,
    ):
        health = {
            "path": "/healthz?x",
            "body": "fine",
            "response_headers": {"X-Role": "primary"},
            "timeout": "2s",
        }
        health["interval"] = "2s"
        named = {"ca": str(authority.ca), "server_name": "app.test"}
        servers = {"good": good, "bad": bad, "restarting": restarting}
        of = {
            name: {"servers": f"https://{one.address}", "health": health, "tls": named}
            for name, one in servers.items()
        }
        of["grpc"] = {
            "servers": f"https://{service.address}",
            "health": {"type": "grpc", "service": "a", "interval": "2s", "timeout": "2s"},
            "tls": named,
        }
        of["other_name"] = {**of["good"], "tls": {"ca": str(authority.ca)}}
        of["unverified"] = {**of["good"], "tls": {"verify": False}}
        of["absent"] = {**of["good"], "servers": f"https://127.0.0.1:{free_port()}"}
        gateway = gateway_of(serve, {name: {"protocol": "h3", **one} for name, one in of.items()})
        expect(
            gateway,
            good="up",
            bad="down",
            restarting="up",
            grpc="up",
            other_name="down",
            unverified="up",
            absent="down",
        )
        gateway.wait_for_log("its certificate is not valid: .*upstream=other_name")
        gateway.wait_for_log("status 503 upstream=bad")
        gateway.wait_for_log("cannot connect: Connection refused upstream=absent")
        request = good.requests[0]
        assert (request.get(":path"), request.get(":authority")) == ("/healthz?x", good.address)


def test_grpc_services_are_asked_by_the_health_protocol(serve: Serve) -> None:
    def says(status: int, code: str = "0") -> Callable[[Stream], None]:
        def handler(stream: Stream) -> None:
            message = bytes([8, status])
            framed = b"\0" + len(message).to_bytes(4, "big") + message
            stream.respond(
                framed if code == "0" else b"",
                fields=[("content-type", "application/grpc")],
                trailers=[("grpc-status", code)],
            )

        return handler

    behaviours = {
        "serving": says(1),
        "not_serving": says(2),
        "unknown": says(3),
        "no_service": says(0, "5"),
        "no_health": says(0, "12"),
        "http": lambda stream: stream.respond(status=404),
    }
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(Http2Server(one)) for name, one in behaviours.items()}
        health = {"type": "grpc", "service": "shop.Carts"}
        gateway = gateway_of(
            serve,
            {
                name: {"servers": one.address, "protocol": "h2", "health": health}
                for name, one in servers.items()
            },
        )
        expect(gateway, **{name: "up" if name == "serving" else "down" for name in servers})
        request = servers["serving"].requests[0]
        assert request.get(":path") == "/grpc.health.v1.Health/Check"
        assert request.body == b"\0\0\0\0\x0c\x0a\x0ashop.Carts"


def test_tcp_checks_connect_or_send_and_expect(serve: Serve, tmp_path: Path) -> None:
    def smtp(connection: socket.socket) -> None:
        connection.sendall(b"220 mail.test ")
        connection.sendall(b"ESMTP\r\n")
        connection.recv(100)

    def echo(connection: socket.socket) -> None:
        while data := connection.recv(100):
            connection.sendall(data.upper())

    with talking(smtp) as mail, talking(echo) as echoing, Origin(path=tmp_path / "app.sock") as unix:
        tcp = {"type": "tcp"}
        gateway = gateway_of(
            serve,
            {
                "open": {"servers": mail, "health": tcp},
                "closed": {"servers": f"127.0.0.1:{free_port()}", "health": tcp},
                "mail": {"servers": mail, "health": {**tcp, "expect": "ESMTP\r\n"}},
                "not_mail": {"servers": mail, "health": {**tcp, "expect": "IMAP"}},
                "echo": {"servers": echoing, "health": {**tcp, "send": "ping\n", "expect": "PING"}},
                "unix": {"servers": unix.address, "health": {"path": "/healthz"}},
            },
        )
        expect(gateway, open="up", closed="down", mail="up", not_mail="down", echo="up", unix="up")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_servers_that_want_a_proxy_header_get_one_that_names_no_client(serve: Serve, version: str) -> None:
    seen: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        data = b""
        while b"HTTP/1.1\r\n" not in data or not data.endswith(b"\r\n\r\n"):
            data += connection.recv(1000)
        seen.append(data)
        connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    with talking(talk) as server:
        gateway = gateway_of(
            serve, {"app": {"servers": server, "health": {"path": "/h"}, "proxy_protocol": version}}
        )
        expect(gateway, app="up")
    header = {"v1": b"PROXY UNKNOWN\r\n", "v2": b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"}[version]
    assert seen[0].startswith(header + b"GET /h HTTP/1.1\r\n")


def test_redis_is_pinged(serve: Serve, tmp_path: Path) -> None:
    def loading(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"-LOADING Redis is loading the dataset in memory\r\n")

    def locked(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"-NOAUTH Authentication required.\r\n")

    health = {"health": {"type": "redis"}}
    with redis(tmp_path) as url, talking(loading) as other, talking(locked) as third:
        upstreams = {"real": url.removeprefix("redis://"), "loading": other, "locked": third}
        gateway = gateway_of(serve, {name: {"servers": one, **health} for name, one in upstreams.items()})
        expect(gateway, real="up", loading="down", locked="up")


def test_postgresql_is_well_while_it_accepts_connections(serve: Serve, tmp_path: Path) -> None:
    def starting(connection: socket.socket) -> None:
        connection.recv(1000)
        fields = b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"
        connection.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)

    postgres = {"type": "postgres", "timeout": "1s", "interval": "1s"}
    with PostgresServer(tmp_path) as server, talking(starting) as other, Origin() as web:
        gateway = gateway_of(
            serve,
            {
                "known": {"servers": f"127.0.0.1:{server.port}", "health": {**postgres, "user": "gate"}},
                "stranger": {"servers": f"127.0.0.1:{server.port}", "health": postgres},
                "starting": {"servers": other, "health": postgres},
                "no_postgres": {"servers": web.address, "health": postgres},
            },
        )
        expect(gateway, known="up", stranger="up", starting="down", no_postgres="down")
        gateway.wait_for_log("the database system is starting up upstream=starting")
        server.kill()
        expect(gateway, known="down", stranger="down", starting="down", no_postgres="down")


def test_mysql_handshakes_are_carried_to_their_end(serve: Serve) -> None:
    """The messages are those of a scripted server, as the protocol's documentation has them."""
    ends: list[bytes] = []

    def framed(number: int, content: bytes) -> bytes:
        return len(content).to_bytes(3, "little") + bytes([number]) + content

    greeting = b"\x0a8.4.0\0" + struct.pack("<I", 7) + b"12345678\0" + b"\xff\xff\x2d\x02\0\xff\xdf\x15"
    greeting += bytes(10) + b"123456789012\0caching_sha2_password\0"

    def error(number: int, code: int, text: bytes) -> bytes:
        return framed(number, b"\xff" + struct.pack("<H", code) + b"#28000" + text)

    def talk(*steps: bytes) -> Talk:
        def talking(connection: socket.socket) -> None:
            connection.sendall(framed(0, greeting))
            for step in steps:
                connection.recv(1000)
                connection.sendall(step)
            ends.append(connection.recv(1000))

        return talking

    denied = error(2, 1045, b"Access denied for user 'headgate'@'localhost'")
    switch = framed(2, b"\xfemysql_native_password\0" + b"x" * 20 + b"\0")
    scripts = {
        "denied": talk(denied),
        "welcome": talk(framed(2, b"\0\0\0\2\0\0\0")),
        "switched": talk(switch, error(4, 1045, b"Access denied")),
        "full": lambda connection: connection.sendall(error(0, 1040, b"Too many connections")),
        "blocked": talk(error(2, 1129, b"Host is blocked")),
    }
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(talking(one)) for name, one in scripts.items()}
        gateway = gateway_of(
            serve, {name: {"servers": one, "health": {"type": "mysql"}} for name, one in servers.items()}
        )
        expect(gateway, denied="up", welcome="up", switched="up", full="down", blocked="down")
        eventually(lambda: b"\x01\0\0\0\x01" in ends, "who is let in ends the session")
        gateway.wait_for_log("is down: Too many connections upstream=full")


def test_functions_of_the_user_decide(serve: Serve) -> None:
    code = """
async def well(address):
    assert address.startswith("127.0.0.1:")

def says_no(address):
    return False

async def raises(address):
    raise RuntimeError("disk is full")
"""
    with Origin() as server:
        gateway = gateway_of(
            serve,
            {
                name: {"servers": server.address, "health": {"type": "python", "function": f"mine:{name}"}}
                for name in ("well", "says_no", "raises", "missing")
            },
            **{"mine.py": code},
        )
        expect(gateway, well="up", says_no="down", raises="down", missing="down")
        gateway.wait_for_log("is down: RuntimeError: disk is full upstream=raises")
        gateway.wait_for_log("is down: AttributeError: module 'mine' has no attribute 'missing'")
