"""Hooks that look at the pieces of long responses, which are then not copied back, and hooks that change some."""

import contextlib
import fcntl
import hashlib
import os
import socket
import sys
import termios
from pathlib import Path

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import raw, reply
from e2e.kit.client import RawClient
from e2e.kit.net import eventually
from e2e.kit.origin import Behaviour, Call

GATE = """
import asyncio, hashlib
from headgate import Gateway, body_mode

gate = Gateway()
gate.listen(LISTEN)
api = gate.upstream("api", ORIGIN)

def digest(request, response, chunk, last):
    assert type(chunk) is bytes
    seen = request.state.seen = getattr(request.state, "seen", None) or hashlib.sha256()
    seen.update(chunk)
    if last:
        response.trailers["x-sum"] = seen.hexdigest()

def count(request):
    request.state.calls = getattr(request.state, "calls", 0) + 1
    return request.state.calls

looks = gate.route("/looks/*", to=api)
looks.response_body(digest)

same = gate.route("/same/*", to=api)

@same.response_body
def gives_it_back(request, response, chunk, last):
    digest(request, response, chunk, last)
    return chunk

waits = gate.route("/waits/*", to=api)

@waits.response_body
async def waits_a_turn(request, response, chunk, last):
    await asyncio.sleep(0)
    digest(request, response, chunk, last)
    return chunk

several = gate.route("/several/*", to=api)
several.response_body(digest)

@several.response_body
def looks_too(request, response, chunk, last):
    request.state.length = getattr(request.state, "length", 0) + len(chunk)
    if last:
        response.trailers["x-length"] = str(request.state.length)

late = gate.route("/late/*", to=api)

@late.response_body
def changes_the_fifth(request, response, chunk, last):
    return chunk.upper() if count(request) == 5 else None

drops = gate.route("/drops/*", to=api)

@drops.response_body
def drops_the_fifth(request, response, chunk, last):
    return b"" if count(request) == 5 else chunk

outer = gate.route("/outer/*", to=api)

@outer.response_body
def sees_what_the_inner_made(request, response, chunk, last):
    digest(request, response, chunk, last)

@outer.response_body
def changes_from_the_fifth(request, response, chunk, last):
    return chunk.upper() if count(request) >= 5 else None

for policy in ("open", "closed"):
    raising = gate.route(f"/{policy}/*", to=api)

    @raising.response_body(on_error=policy)
    def raises_at_the_fifth(request, response, chunk, last):
        if count(request) == 5:
            raise ValueError("the fifth piece")
"""

MEGABYTE = 1 << 20
BODY = b"".join(b"line %09d\n" % number for number in range(4 * MEGABYTE // 15))


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address})


def pipes(gateway: RunningGateway) -> list[int]:
    """How many bytes wait in each pipe that the worker has open."""
    found = {}
    for entry in Path(f"/proc/{gateway.workers[0]}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            name = os.readlink(entry)
            if name.startswith("pipe:"):
                pipe = os.open(entry, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    found[name] = int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
                finally:
                    os.close(pipe)
    return list(found.values())


def filled(gateway: RunningGateway) -> int:
    """How many of them hold something."""
    return sum(waiting > 0 for waiting in pipes(gateway))


def in_gulps(body: bytes, size: int) -> Behaviour:
    """Sends `size` bytes at once, each only when the one before has been taken by the peer's kernel."""

    def behaviour(call: Call) -> None:
        call.read_body()
        call.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for at in range(0, len(body), size):
            call.send(body[at : at + size])

    return behaviour


@pytest.mark.parametrize("kind", ["looks", "same", "waits", "several"])
def test_what_is_looked_at_arrives_as_it_was_sent(gateway: RunningGateway, origin: Origin, kind: str) -> None:
    origin.on(f"/{kind}/long", reply(BODY))
    with gateway.client() as client:
        for _ in range(3):
            response = client.get(f"/{kind}/long")
            assert response.body == BODY
            trailers = dict(response.trailers)
            assert trailers["x-sum"] == hashlib.sha256(BODY).hexdigest()
            assert trailers.get("x-length", str(len(BODY))) == str(len(BODY))


def test_clients_that_do_not_read_hold_a_pipe_each_and_no_more(
    gateway: RunningGateway, origin: Origin
) -> None:
    body = BODY * 4  # more than the kernel's buffers take
    origin.on("/looks/piped", reply(BODY))
    origin.on("/looks/held", reply(body))
    assert gateway.get("/looks/piped").body == BODY
    few = len(pipes(gateway))
    clients = [RawClient(gateway.address, 30, receive_buffer=4096) for _ in range(8)]
    try:
        for client in clients:
            client.send(b"GET /looks/held HTTP/1.1\r\nHost: a\r\n\r\n")

        def wait_in_pipes() -> bool:
            # a piece that came when the server was slow waits in memory: a client that reads a little gets past it
            for client in clients:
                client.buffer += client.socket.recv(1 << 16)
            return filled(gateway) >= 4

        eventually(wait_in_pipes, "pieces wait in pipes for clients that hardly read")
        assert gateway.get("/looks/piped").body == BODY
        assert len(pipes(gateway)) <= few + len(clients) + 1
        for client in clients[4:]:
            client.reset()
        for client in clients[:4]:
            assert client.response().body == body
        eventually(lambda: not filled(gateway), "nothing is kept for clients that left")
    finally:
        for client in clients:
            client.close()
    assert gateway.get("/looks/piped").body == BODY


@pytest.mark.parametrize("size", [100, 5000, 40_000, 64_000, 300_000])
def test_pieces_of_any_size_arrive(gateway: RunningGateway, origin: Origin, size: int) -> None:
    body = BODY[: 400 * size] if size < 5000 else BODY
    origin.on(f"/looks/gulps{size}", in_gulps(body, size))
    response = gateway.get(f"/looks/gulps{size}")
    assert response.body == body
    assert dict(response.trailers)["x-sum"] == hashlib.sha256(body).hexdigest()


def changed_piece(body: bytes) -> tuple[int, int]:
    """Where `body` is not `BODY`: from and to."""
    differs = [at for at in range(len(body)) if body[at] != BODY[at]]
    return differs[0], differs[-1] + 1


def test_one_piece_of_many_can_be_changed(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/late/a", reply(BODY))
    body = gateway.get("/late/a").body
    assert len(body) == len(BODY)
    assert body.lower() == BODY
    first, end = changed_piece(body)
    assert 0 < first < end <= first + 65536
    assert body[:first] == BODY[:first]
    assert body[first:end] == BODY[first:end].upper()
    assert body[end:] == BODY[end:]


def test_one_piece_of_many_can_be_dropped(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/drops/a", reply(BODY))
    body = gateway.get("/drops/a").body
    missing = len(BODY) - len(body)
    assert 0 < missing <= 65536
    first = next(at for at in range(len(body)) if body[at] != BODY[at])
    # lines are alike, so that the cut may seem to be some bytes later than it is
    assert any(body[at:] == BODY[at + missing :] for at in range(first, first - 16, -1))


def test_a_hook_sees_what_the_one_before_it_made(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/outer/a", reply(BODY))
    response = gateway.get("/outer/a")
    assert response.body.lower() == BODY
    assert response.body[-1000:] == BODY[-1000:].upper()
    assert dict(response.trailers)["x-sum"] == hashlib.sha256(response.body).hexdigest()


def test_a_hook_that_raises_midway_lets_the_rest_by_if_it_is_open(
    gateway: RunningGateway, origin: Origin
) -> None:
    origin.on("/open/a", reply(BODY))
    assert gateway.get("/open/a").body == BODY


def test_a_hook_that_raises_midway_cuts_the_body_if_it_is_closed(
    gateway: RunningGateway, origin: Origin
) -> None:
    origin.on("/closed/a", reply(BODY))
    with gateway.client() as client:
        client.send(b"GET /closed/a HTTP/1.1\r\nHost: a\r\n\r\n")
        client.head()
        rest = client.read_to_end()
    assert not rest.endswith(b"0\r\n\r\n")
    assert len(rest) < len(BODY)
    gateway.wait_for_log("the fifth piece")
    assert gateway.get("/looks/a").status == 200


def test_a_server_that_breaks_off_cuts_the_body(gateway: RunningGateway, origin: Origin) -> None:
    begun = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY[: 3 * MEGABYTE]
    origin.on("/looks/cut", raw(begun, then="close"))
    with gateway.client() as client:
        client.send(b"GET /looks/cut HTTP/1.1\r\nHost: a\r\n\r\n")
        client.head()
        rest = client.read_to_end()
    assert not rest.endswith(b"0\r\n\r\n")
    assert gateway.get("/looks/a").status == 200


def test_an_old_client_gets_all_of_it(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/looks/old", reply(BODY))
    with gateway.client() as client:
        client.send(b"GET /looks/old HTTP/1.0\r\nHost: a\r\n\r\n")
        response = client.response()
        assert response.get("transfer-encoding") is None
        assert response.body == BODY


def test_a_slow_client_gets_all_of_it(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/looks/slow", reply(BODY))
    with RawClient(gateway.address, receive_buffer=4096) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 4096)
        client.send(b"GET /looks/slow HTTP/1.1\r\nHost: a\r\n\r\n")
        response = client.response()
    assert response.body == BODY
    assert dict(response.trailers)["x-sum"] == hashlib.sha256(BODY).hexdigest()
