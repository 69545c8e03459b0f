"""Faults: resets in the middle of bodies on both sides, hangs, slow readers with bounded memory, killed workers."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e.kit import Call, Origin, RawClient, RunningGateway, Serve, eventually
from e2e.kit.behaviours import hang, raw, reply
from e2e.kit.client import format_request

PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    upstream = {"servers": f"{origin.address} max_fails=0"}
    source = {"upstreams": {"u": upstream}, "routes": [{"to": "u"}], "access_log": {"flush": "50ms"}}
    return serve_module(source)


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def test_server_reset_in_a_body_cuts_the_client(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/reset", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 100, then="reset"))
    with gateway.client() as client:
        client.send(format_request("GET", "/reset"))
        data = client.read_to_end()
    assert data.count(b"HTTP/1.1 ") == 1
    assert len(data) < 1000
    record = gateway.access_record(target="/reset")
    assert record["error"]
    assert gateway.get("/after").status == 200


def test_server_reset_in_a_chunked_body_is_not_ended_properly(
    gateway: RunningGateway, origin: Origin
) -> None:
    origin.on(
        "/reset-chunked",
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", then="reset"),
    )
    with gateway.client() as client:
        client.send(format_request("GET", "/reset-chunked"))
        assert not client.read_to_end().endswith(b"0\r\n\r\n")


def test_server_reset_in_a_body_until_close_is_not_ended_properly(
    gateway: RunningGateway, origin: Origin
) -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"

    def behaviour(call: Call) -> None:
        call.send(head + b"some of it")
        # The peer must have read what was sent before the reset throws it away.
        eventually(lambda: arrived, "the client has the beginning")
        call.reset()

    arrived: list[bytes] = []
    origin.on("/reset-until", behaviour)
    with gateway.client() as client:
        client.send(format_request("GET", "/reset-until"))
        client.head()
        arrived.append(client.read_until(b"some of it"))
        assert not client.read_to_end().endswith(b"0\r\n\r\n")


def test_server_reset_while_it_is_sent_a_body_gives_an_error(gateway: RunningGateway, origin: Origin) -> None:
    def behaviour(call: Call) -> None:
        call.read_some(1000)
        call.reset()

    origin.on("/reset-upload", behaviour)
    with gateway.client() as client:
        client.send(b"POST /reset-upload HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n")
        # no more than the gateway still reads of it, so that no reset of its own overtakes the response
        for _ in range(20):
            client.send(b"x" * 100_000)
        assert client.response("POST").status == 502
    assert gateway.get("/after").status == 200


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_that_leaves_in_a_download_frees_the_server(
    gateway: RunningGateway, origin: Origin, how: str
) -> None:
    failed: list[Exception] = []

    def behaviour(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                call.send(b"x" * 100_000)
        except OSError as error:
            failed.append(error)
            call.close()

    origin.on(f"/leave-{how}", behaviour)
    with gateway.client() as client:
        client.send(format_request("GET", f"/leave-{how}"))
        client.read_exactly(100_000)
        getattr(client, how)()
    eventually(lambda: failed, "the server is not drained for nobody")
    assert gateway.access_record(target=f"/leave-{how}")["error"]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_that_leaves_in_an_upload_cuts_the_server(
    gateway: RunningGateway, origin: Origin, how: str
) -> None:
    with gateway.client() as client:
        client.send(f"POST /up-{how} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc".encode())
        call = origin.wait_for(f"/up-{how}")
        getattr(client, how)()
    eventually(lambda: call.is_failed, "the server sees a cut body")
    assert len(call.body) < 1000


def test_slow_reader_holds_only_its_buffers(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/large", reply(b"s" * 50_000_000))
    (worker,) = gateway.workers
    with gateway.client() as client:
        client.get("/warm")
    before = memory(worker)
    slow = [RawClient(gateway.address, receive_buffer=4096) for _ in range(8)]
    for client in slow:
        client.send(format_request("GET", "/large"))
        client.head()
    with gateway.client() as other:
        for _ in range(200):
            assert other.get("/meanwhile").status == 200
    assert memory(worker) - before < 16_000_000
    for client in slow:
        client.close()


def test_transfers_that_all_go_on_at_once_take_turns_and_lose_nothing(
    gateway: RunningGateway, origin: Origin
) -> None:
    body = b"".join(b"%07d\n" % line for line in range(250_000))
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:999_999], body[999_999:]))
    origin.on("/with-length", reply(body))
    origin.on(
        "/in-chunks", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked + b"0\r\n\r\n")
    )
    waiting = [RawClient(gateway.address, receive_buffer=4096) for _ in range(60)]
    for number, client in enumerate(waiting):
        client.send(format_request("GET", ("/with-length", "/in-chunks")[number % 2]))
    eventually(
        lambda: len(origin.at("/with-length") + origin.at("/in-chunks")) == 60, "all have got their responses"
    )
    with gateway.client() as other, ThreadPoolExecutor(len(waiting)) as readers:
        bodies = readers.map(lambda client: client.response().body, waiting)
        assert [other.get("/meanwhile").status for _ in range(50)] == [200] * 50
        assert all(one == body for one in bodies)
    for client in waiting:
        client.close()


def test_slow_server_holds_back_an_upload(gateway: RunningGateway, origin: Origin) -> None:
    def behaviour(call: Call) -> None:
        call.hang_without_reading()

    origin.on("/slow-server", behaviour)
    (worker,) = gateway.workers
    before = memory(worker)
    sent = 0
    with gateway.client(timeout=1) as client:
        client.send(b"POST /slow-server HTTP/1.1\r\nHost: a\r\nContent-Length: 200000000\r\n\r\n")
        try:
            while sent < 200_000_000:
                client.send(b"u" * 1_000_000)
                sent += 1_000_000
        except TimeoutError:
            pass
        assert sent < 100_000_000, "the gateway takes what the server does not"
        assert memory(worker) - before < 16_000_000


def test_hanging_servers_do_not_stop_others(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/hang", hang)
    hanging = [gateway.client() for _ in range(100)]
    for client in hanging:
        client.send(format_request("GET", "/hang"))
    eventually(lambda: len(origin.at("/hang")) == 100, "all hang")
    with gateway.client() as other:
        assert [other.get("/fine").status for _ in range(100)] == [200] * 100
    for client in hanging:
        client.close()


def test_memory_does_not_grow_with_the_number_of_requests(gateway: RunningGateway, origin: Origin) -> None:
    (worker,) = gateway.workers
    batch = format_request("GET", "/many", [("X-Padding", "p" * 1000)]) * 50

    def ask(count: int) -> None:
        with gateway.client() as client:
            for _ in range(count):
                client.send(batch)
                for _ in range(50):
                    assert client.response().status == 200

    ask(20)
    before = memory(worker)
    ask(60)
    assert memory(worker) - before < 4_000_000


def test_connections_leave_nothing_behind(gateway: RunningGateway) -> None:
    (worker,) = gateway.workers

    def descriptors() -> int:
        return len(list(Path(f"/proc/{worker}/fd").iterdir()))

    for _ in range(50):
        gateway.get("/fd")
    before = descriptors()
    for _ in range(200):
        with gateway.client() as client:
            client.send(b"GET /fd HTTP/1.1\r\nHost")
    for _ in range(200):
        gateway.get("/fd")
    eventually(lambda: descriptors() <= before + 2, "all descriptors are closed")


def test_killed_worker_cuts_only_its_own_connections(serve: Serve, origin: Origin) -> None:
    gateway = serve({"routes": [{"to": origin.address}]}, workers=2)
    clients = [gateway.client() for _ in range(20)]
    for client in clients:
        assert client.get("/warm").status == 200
    os.kill(gateway.workers[0], signal.SIGKILL)
    alive = 0
    for client in clients:
        try:
            alive += client.get("/still").status == 200
        except OSError:
            pass
        client.close()
    assert 0 < alive < 20
    for _ in range(20):
        assert gateway.get("/again").status == 200


def test_garbage_of_every_kind_does_not_end_a_worker(gateway: RunningGateway) -> None:
    workers = gateway.workers
    samples = [
        bytes(range(256)) * 40,
        b"\x00" * 5000,
        b"\r\n" * 5000,
        b"GET " * 9000,
        b"A" * 100_000,
        b"\xff\xfe\r\n\r\n",
    ]
    for sample in samples:
        with gateway.client() as client:
            client.send(sample)
            data = client.read_to_end()
            assert data.startswith(b"HTTP/1.1 4"), (sample[:20], data[:100])
    assert gateway.workers == workers
