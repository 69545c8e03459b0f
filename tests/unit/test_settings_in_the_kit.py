"""Settings whose effect is seen without sockets: those of single plugins, routes and upstreams."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headgate import FetchTooLarge, Gateway, Overloaded, Plugin, Request, Response, WebSocketMessage, fetch
from headgate.testing import Fault, TestGateway
from headgate.testing.wire import Broken

SHORT = "150ms"


def gateway(where: str, setting: str, *, servers: str = "server.test:80") -> Gateway:
    """A gateway whose setting of time is the gateway's, the upstream's or the route's."""
    gate, waits = Gateway(), {setting: SHORT}
    if where == "gateway":
        gate.timeouts(**waits)  # type: ignore[misc]
    up = gate.upstream("up", servers, retries=0, timeouts=waits if where == "upstream" else None)
    gate.route("/", to=up, timeouts=waits if where == "route" else None)
    return gate


@pytest.mark.parametrize("where", ["gateway", "upstream", "route"])
def test_wait_for_a_head_is_bounded_where_it_is_said(where: str) -> None:
    with TestGateway(gateway(where, "upstream_head"), upstreams={"up": Fault.HANG}) as running:
        assert running.get("/").status == 504


@pytest.mark.parametrize("where", ["gateway", "upstream", "route"])
def test_silence_within_a_body_is_bounded_where_it_is_said(where: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.sleep(60)

    with TestGateway(
        gateway(where, "upstream_idle"), upstreams={"up": lambda _: Response.stream(pieces())}
    ) as running:
        with pytest.raises(Broken):
            running.get("/")
        running.until(lambda: running.records)
        assert running.counters["timeout_upstream_idle"] == 1


@pytest.mark.parametrize("where", ["gateway", "upstream", "route"])
def test_wait_in_the_queue_is_bounded_where_it_is_said(where: str) -> None:
    gate = gateway(where, "queue", servers="server.test:80 max_connections=1")
    with TestGateway(gate, upstreams={"up": Fault.HANG}) as running:
        running.start("GET", "/first")
        running.until(lambda: running.received)
        assert running.get("/second").status in (503, 504)
        assert running.counters["timeout_queue"] == 1


@pytest.mark.parametrize("where", ["gateway", "route"])
def test_wait_for_a_body_is_bounded_where_it_is_said(where: str) -> None:
    with TestGateway(gateway(where, "client_body"), upstreams={"up": Fault.HANG}) as running:

        async def post_half() -> bytes:
            reader, writer = await running.connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
            line = await reader.readline()
            writer.close()
            return line

        assert b" 408 " in running.run(post_half())


def test_plugins_deadline_and_failing_open() -> None:
    class Slow(Plugin):
        async def request(self, request: Request) -> None:
            await asyncio.sleep(60)

    for on_error, status in (("open", 200), ("closed", 500)):
        gate = Gateway()
        gate.route("/", respond="in")
        gate.use(Slow(), deadline=SHORT, on_error=on_error)  # type: ignore[arg-type]
        with TestGateway(gate, raise_errors=False) as running:
            assert running.get("/").status == status


def test_deadline_of_a_route() -> None:
    gate = Gateway()

    @gate.route("/", deadline=SHORT)
    async def slow(request: Request) -> None:
        await asyncio.sleep(60)

    with TestGateway(gate, raise_errors=False) as running:
        assert running.get("/").status == 500


def test_function_of_a_body_hook_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "shouting_hooks.py").write_text(
        "def shout(request, chunk, last):\n    return chunk.upper()\n"
    )
    file = tmp_path / "gate.yaml"
    file.write_text(
        "routes: [{path: /, to: 'server.test:80', hooks: {request_body: 'shouting_hooks:shout'}}]\n"
    )
    with TestGateway(file, upstreams={"server.test:80": Response(200)}) as running:
        running.post("/", "body")
        assert running.received[0].body == b"BODY"


def test_bytes_that_wait_for_a_websocket_are_bounded() -> None:
    gate, seen = Gateway(), list[Any]()
    gate.websocket(max_queued_bytes=4096)
    route = gate.route("/", to="server.test:80")

    @route.websocket_message
    def look(request: Request, message: WebSocketMessage) -> None: ...

    @route.request
    def flood(request: Request) -> Response:
        assert request.websocket
        try:
            for number in range(100):
                request.websocket.to_client(b"x" * 1000)
                seen.append(number)
        except Overloaded as error:
            seen.append(error)
        return Response(403)

    headers = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}
    headers["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    with TestGateway(gate, upstreams={"server.test:80": Fault.REFUSE}) as running:
        assert running.get("/", headers).status == 403
    assert isinstance(seen[-1], Overloaded) and len(seen) <= 5


def test_fetched_bodies_are_bounded() -> None:
    gate, seen = Gateway(), list[Any]()
    gate.limits(max_fetch_body_bytes=1000)

    @gate.route("/")
    async def ask(request: Request) -> Response:
        try:
            response = await fetch("http://big.test/")
            seen.append(len(await response.body()))
        except FetchTooLarge as error:
            seen.append(error)
            assert (
                len(await response.body(max_bytes=2000)) == 1001
            )  # it came with its head, and is still there
        with pytest.raises(FetchTooLarge):
            await response.body(max_bytes=10)
        return Response(200)

    for size in (1000, 1001):
        with TestGateway(gate, upstreams={"http://big.test": Response(200, b"x" * size)}) as running:
            running.get("/")
    assert seen[0] == 1000 and isinstance(seen[1], FetchTooLarge)
