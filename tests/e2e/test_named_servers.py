"""Servers that a hook names by their address: with TLS, a PROXY header or a source, as upstreams have them."""

import socket

import pytest
from e2e.kit import Origin, RunningGateway, Serve, free_port
from e2e.kit.pki import Authority

GATE = """
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
gate.access_log("json")

@gate.route("/*", respond="unreached")
def choose(request):
    request.upstream = request.headers["x-server"]

@gate.error
def tell(request, error):
    from headgate import Response
    return Response(error.status, f"{error.kind}: {error.message}")
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve) -> RunningGateway:
    return serve_module(GATE)


def ask(gateway: RunningGateway, server: str) -> tuple[int, str]:
    response = gateway.get("/path?q=1", [("X-Server", server)])
    return response.status, response.text


def test_scheme_says_whether_tls_is_spoken(
    gateway: RunningGateway, origin: Origin, authority: Authority
) -> None:
    assert ask(gateway, f"http://{origin.address}")[0] == 200
    assert ask(gateway, origin.address)[0] == 200
    with Origin(tls=authority.server(authority.issue("app.test"))) as secure:
        named = f"https://{secure.address} ca={authority.ca} server_name=app.test"
        assert ask(gateway, named)[0] == 200
        assert secure.at("/path")[-1].get("host") == "gate.test"
        status, text = ask(gateway, f"https://{secure.address} ca={authority.ca}")
        assert status == 502 and "its certificate is not for `127.0.0.1` but for app.test" in text
        status, text = ask(gateway, f"https://{secure.address}")
        assert status == 502 and "from no authority that is trusted" in text
        assert ask(gateway, f"https://{secure.address} verify=false")[0] == 200


def test_server_is_told_of_the_client_and_sees_the_source_that_was_asked_for(gateway: RunningGateway) -> None:
    with Origin() as plain:
        assert ask(gateway, f"{plain.address} source=127.0.0.9")[0] == 200
        assert plain.at("/path")[-1].socket.getpeername()[0] == "127.0.0.9"
    with socket.create_server(("127.0.0.1", 0)) as listener, gateway.client() as client:
        port = client.socket.getsockname()[1]
        server = f"127.0.0.1:{listener.getsockname()[1]} proxy_protocol=v1"
        client.send(f"GET / HTTP/1.1\r\nHost: a\r\nX-Server: {server}\r\n\r\n".encode())
        accepted, _ = listener.accept()
        with accepted:
            seen = b""
            while not seen.endswith(b"\r\n\r\n"):
                seen += accepted.recv(4096)
            accepted.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert client.response().status == 204
        assert seen.startswith(f"PROXY TCP4 127.0.0.1 0.0.0.0 {port} 0\r\nGET / ".encode())


def test_servers_of_a_list_take_turns_and_stand_in_for_each_other(gateway: RunningGateway) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with Origin() as one, Origin() as other:
        listed = f"{one.address}, {other.address},{nobody}"
        assert {ask(gateway, listed)[0] for _ in range(12)} == {200}
        assert min(len(one.at("/path")), len(other.at("/path"))) >= 3
    assert ask(gateway, f"{nobody},127.0.0.1:{free_port()}")[0] == 502


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:1,",
        "127.0.0.1:1, https://127.0.0.1:2",
        "https://",
        "https://127.0.0.1:1/path",
        "ftp://127.0.0.1:1",
        "127.0.0.1:1 ca=/x",
        "127.0.0.1:1 weight=2",
    ],
)
def test_what_names_no_server_fails_the_hook(gateway: RunningGateway, text: str) -> None:
    assert ask(gateway, text)[0] == 500


def test_nobody_there_is_a_502(gateway: RunningGateway) -> None:
    assert ask(gateway, f"https://127.0.0.1:{free_port()}") == (
        502,
        "connect_failed: cannot connect to the server",
    )
