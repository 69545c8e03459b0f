"""The examples about WebSockets, gRPC and HTTP/2 do what they say."""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import RunningGateway, Serve, free_port
from e2e.kit.http2 import Http2Client
from e2e.kit.http2_server import Http2Server, Stream
from e2e.kit.websocket import CLOSE, TEXT, RawWebSocket, WebSocketServer, frame

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["websocket_room.py", "grpc_services.py", "http2.py"])
def test_example_is_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= 50


def test_room_is_moderated(serve: Serve) -> None:
    with WebSocketServer() as server:
        text = (EXAMPLES / "websocket_room.py").read_text()
        text = text.replace('"127.0.0.1:8080"', "LISTEN").replace('"127.0.0.1:9000"', repr(server.address))
        gateway = serve(text)
        with (
            RawWebSocket(gateway.address, "/chat/one") as ada,
            RawWebSocket(gateway.address, "/chat/one") as bob,
            RawWebSocket(gateway.address, "/chat/two") as eve,
        ):
            assert ada.ask("hello") == "hello"
            assert ada.ask("my password is x") == "(hidden)"
            ada.send(frame(TEXT, b"/all dinner"))
            assert ada.frame().text == bob.frame().text == "dinner"
            assert eve.ask("alone") == "alone"
            eve.send(frame(TEXT, b"x") * 1000)
            while (got := eve.frame()).opcode != CLOSE:
                assert got.text == "x"
            assert got.code == 1008


class Secured:
    """An example on the kit's addresses, with TLS beside."""

    def __init__(self, serve: Serve, name: str, server: Http2Server, folder: Path) -> None:
        self.tls_address = f"127.0.0.1:{free_port()}"
        text = (EXAMPLES / name).read_text().replace('"localhost"', '"gate.test"')
        text = text.replace('"127.0.0.1:8080"', "LISTEN").replace('"127.0.0.1:8443"', repr(self.tls_address))
        text = re.sub(r'"127.0.0.1:(\d+)1",\s+"127.0.0.1:\1[2]"', repr(server.address), text)
        self.gateway: RunningGateway = serve(text, environment={"HEADGATE_DATA_DIR": str(folder)})
        self.trust = ssl.create_default_context(cafile=folder / "authority" / "ca.pem")

    def clients(self) -> Iterator[Http2Client]:
        """One without TLS, one with."""
        yield Http2Client(self.gateway.address)
        yield Http2Client(self.tls_address, tls=self.trust)


def test_http2_with_and_without_tls(serve: Serve, tmp_path: Path) -> None:
    with Http2Server(lambda stream: stream.respond(b"from the server")) as server:
        example = Secured(serve, "http2.py", server, tmp_path)
        for client in example.clients():
            with client:
                assert client.get("/api/x").body == b"from the server"
        assert example.gateway.get("/").status == 200
        assert len(server.connections) == 1


def test_calls_of_grpc_and_browsers(serve: Serve, tmp_path: Path) -> None:
    def response(stream: Stream) -> None:
        fields = [("content-type", "application/grpc")]
        said = (stream.get("x-method") or "").encode()
        message = b"\0" + len(said).to_bytes(4, "big") + said
        stream.respond(message, fields=fields, trailers=[("grpc-status", "0")])

    with Http2Server(response) as server:
        example = Secured(serve, "grpc_services.py", server, tmp_path)
        fields = [("content-type", "application/grpc"), ("te", "trailers")]
        for client in example.clients():
            with client:
                stream = client.request("/shop.Orders/Buy", method="POST", fields=fields, body=bytes(5))
                refused = client.response(stream)
                assert (refused.status, refused.get("grpc-status")) == (200, "16")
                known = [*fields, ("authorization", "Bearer x")]
                stream = client.request("/shop.Orders/Buy", method="POST", fields=known, body=bytes(5))
                responded = client.response(stream)
                assert responded.body == b"\0\0\0\0\x03Buy" and responded.trailers == [("grpc-status", "0")]
        browser = [("Content-Type", "application/grpc-web+proto"), ("Authorization", "Bearer x")]
        said = example.gateway.get("/shop.Orders/Buy", browser, method="POST", body=bytes(5))
        assert said.get("content-type") == "application/grpc-web"
        assert said.body == b"\0\0\0\0\x03Buy\x80\0\0\0\x10grpc-status: 0\r\n"
