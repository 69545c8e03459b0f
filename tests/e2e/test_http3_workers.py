"""HTTP/3 over several workers and generations: every packet reaches the worker that holds its connection."""

import signal
import threading

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, TlsClient
from e2e.kit.http3 import Http3Client
from e2e.kit.net import free_port
from e2e.kit.pki import Authority, Leaf


def source(leaf: Leaf, origin: Origin, version: int = 1, *, http3: bool = True) -> str:
    return f"""
from headgate import Gateway, Response
import os
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3={http3!r})

@gate.route("/who")
def who(request):
    return Response(200, f"{version} {{os.getpid()}}")

gate.route("/", to={origin.address!r})
"""


@pytest.fixture
def leaf(authority: Authority) -> Leaf:
    return authority.issue("gate.test")


def reload(gateway: RunningGateway, text: str, generation: int) -> None:
    gateway.write(text)
    gateway.signal(signal.SIGHUP)
    gateway.wait_for_log(f"reloaded generation={generation}", within=30)


def test_connections_survive_a_change_of_address_whatever_worker_the_kernel_chooses(
    serve: Serve, origin: Origin, authority: Authority, leaf: Leaf
) -> None:
    gateway = serve(source(leaf, origin), workers=3)
    clients = [Http3Client(gateway.address, authority.ca) for _ in range(6)]
    holders = [client.get("/who").body for client in clients]
    assert len(set(holders)) > 1, "the kernel spreads connections"
    for _ in range(4):
        for client, holder in zip(clients, holders, strict=True):
            client.move()
            assert client.get("/who").body == holder
    for client in clients:
        client.close()


def test_a_reload_loses_no_connection_and_new_ones_get_the_new_version(
    serve: Serve, origin: Origin, authority: Authority, leaf: Leaf
) -> None:
    gate = threading.Event()

    def slow(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 300004\r\n\r\nslow")
        gate.wait(30)
        call.send(bytes(300_000))

    origin.on("/slow", slow)
    gateway = serve(source(leaf, origin), workers=2)
    with Http3Client(gateway.address, authority.ca) as old:
        assert old.get("/who").body.startswith(b"1 ")
        download = old.request("/slow")
        old.head(download)
        reload(gateway, source(leaf, origin, 2), 2)
        for _ in range(8):
            with Http3Client(gateway.address, authority.ca) as new:
                assert new.get("/who").body.startswith(b"2 ")
        gate.set()
        response = old.response(download)
        assert (len(response.body), response.is_ended) == (300_004, True)
        # the last request has its response: the connection ends as it should
        assert old.wait_closed().error_code == 0x100


def test_no_request_fails_while_versions_come_and_go(
    serve: Serve, origin: Origin, authority: Authority, leaf: Leaf
) -> None:
    gateway = serve(source(leaf, origin), workers=2)
    over, failed, served = threading.Event(), [], []

    def load() -> None:
        while not over.is_set():
            with Http3Client(gateway.address, authority.ca) as client:
                for _ in range(20):
                    stream = client.request("/who")
                    response = client.response(stream)
                    if response.is_ended and response.status == 200:
                        served.append(response.body)
                    elif client.terminated is None or client.terminated.error_code != 0x100:
                        failed.append((response, client.terminated))
                    if client.terminated or client.is_shutting_down:
                        break

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for version in range(2, 7):
            reload(gateway, source(leaf, origin, version), version)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert {body.split()[0] for body in served} >= {b"1", b"6"}


def test_a_listener_that_stops_speaking_it_ends_its_connections(
    serve: Serve, origin: Origin, authority: Authority, leaf: Leaf
) -> None:
    listener = {"tls": {"certificates": [leaf.files]}}
    routes = {"routes": [{"path": "/", "respond": "ok"}]}
    address = f"127.0.0.1:{free_port()}"
    spoken = {"listeners": [{**listener, "address": address, "http3": True}], **routes}
    gateway = serve(spoken, listen=address)
    with Http3Client(gateway.address, authority.ca) as client:
        assert client.get("/").body == b"ok"
        gateway.write({"listeners": [{**listener, "address": gateway.address}], **routes})
        gateway.signal(signal.SIGHUP)
        assert client.wait_closed().error_code == 0x100
    with TlsClient(gateway.address, authority.client(), "gate.test") as other:
        assert other.get("/").get("alt-svc") is None
    # and its port is free to be spoken on again
    gateway.write(spoken)
    gateway.signal(signal.SIGHUP)
    gateway.wait_for_log("reloaded generation=3")
    with Http3Client(gateway.address, authority.ca) as client:
        assert client.get("/").body == b"ok"


def test_a_graceful_stop_finishes_what_is_under_way(
    serve: Serve, origin: Origin, authority: Authority, leaf: Leaf
) -> None:
    gate = threading.Event()

    def slow(call: Call) -> None:
        gate.wait(30)
        call.respond(b"late")

    origin.on("/late", slow)
    gateway = serve(source(leaf, origin))
    with Http3Client(gateway.address, authority.ca) as client:
        stream = client.request("/late")
        origin.wait_for("/late")
        gateway.signal(signal.SIGQUIT)
        client.until(lambda: client.is_shutting_down, "a GOAWAY")
        gate.set()
        assert client.response(stream).body == b"late"
        assert client.wait_closed().error_code == 0x100
    assert gateway.process.wait(timeout=10) == 0
