"""gRPC over HTTP/3: calls of a client to a server of grpcio, with messages and trailers as they are on the wire."""

import struct
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from e2e.kit import RunningGateway, Serve
from e2e.kit.grpc_server import grpc_server
from e2e.kit.http3 import Http3Client, Http3Response
from e2e.kit.pki import Authority

GRPC = [("content-type", "application/grpc"), ("te", "trailers")]
NOT_FOUND, UNIMPLEMENTED, DEADLINE_EXCEEDED = "5", "12", "4"
REQUEST_CANCELLED = 0x10C


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Methods over plain bytes."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []

    def service(self, details: Any) -> Any:
        """The method that is called."""
        found = {
            "/echo.Echo/Once": grpc.unary_unary_rpc_method_handler(self.once),
            "/echo.Echo/Missing": grpc.unary_unary_rpc_method_handler(self.missing),
            "/echo.Echo/Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "/echo.Echo/Endless": grpc.unary_stream_rpc_method_handler(self.endless),
        }
        return found.get(details.method)

    def once(self, message: bytes, context: Any) -> bytes:
        """The same again, with what the caller has said beside it."""
        said = dict(context.invocation_metadata())
        context.send_initial_metadata((("x-said", said.get("x-say", "")),))
        context.set_trailing_metadata((("x-length", str(len(message))), ("x-raw-bin", b"\0\xff")))
        return message

    def missing(self, _: bytes, context: Any) -> bytes:
        """A status of its own."""
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: ä")
        return b""

    def chat(self, messages: Iterator[bytes], _: Any) -> Iterator[bytes]:
        """A response to each, before the next is there."""
        for message in messages:
            yield message.upper()

    def endless(self, _: bytes, context: Any) -> Iterator[bytes]:
        """Until the caller has enough."""
        context.add_callback(lambda: self.cancelled.append("endless"))
        while context.is_active():
            yield b"x" * 1000


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, authority: Authority, echo: Echo) -> Iterator[RunningGateway]:
    with grpc_server(lambda server: server.add_generic_rpc_handlers((echo,))) as url:
        server = url.removeprefix("grpc://")
        yield serve_module(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{authority.issue("gate.test").files!r}]}}, http3=True)
gate.route("/", to=gate.upstream("echo", {server!r}, protocol="h2"))
""")


@pytest.fixture
def client(gateway: RunningGateway, authority: Authority) -> Iterator[Http3Client]:
    with Http3Client(gateway.address, authority.ca) as client:
        yield client


def framed(message: bytes) -> bytes:
    return b"\0" + struct.pack(">I", len(message)) + message


def call(client: Http3Client, method: str, message: bytes = b"", fields: Any = ()) -> Http3Response:
    stream = client.request(f"/echo.Echo/{method}", [*GRPC, *fields], method="POST", body=framed(message))
    return client.response(stream)


def status(response: Http3Response) -> dict[str, str]:
    """The fields that end a call, wherever they are."""
    return dict(response.trailers or response.heads[-1])


def test_message_metadata_and_trailers_go_both_ways(client: Http3Client) -> None:
    response = call(client, "Once", b"hello", [("x-say", "hi")])
    assert (response.status, response.body) == (200, framed(b"hello"))
    assert (response.get("content-type"), response.get("x-said")) == ("application/grpc", "hi")
    told = dict(response.trailers)
    assert (told["grpc-status"], told["x-length"], told["x-raw-bin"].rstrip("=")) == ("0", "5", "AP8")


def test_large_messages_arrive_whole(client: Http3Client) -> None:
    message = bytes(range(256)) * 4000
    assert call(client, "Once", message).body == framed(message)


def test_status_of_a_failed_call_is_the_servers(client: Http3Client) -> None:
    told = status(call(client, "Missing"))
    assert (told["grpc-status"], told["grpc-message"]) == (NOT_FOUND, "no such thing: %C3%A4")
    assert status(call(client, "Unknown"))["grpc-status"] == UNIMPLEMENTED


def test_messages_are_passed_on_while_the_call_goes_on(client: Http3Client) -> None:
    stream = client.request("/echo.Echo/Chat", GRPC, method="POST", ends=False)
    heard = b""
    for message in (b"one", b"two", b"three"):
        client.send_body(stream, framed(message), ends=False)
        heard += framed(message.upper())
        client.until(lambda: client.responses[stream].body == heard, "the response to a message")  # noqa: B023
    client.send_body(stream, b"", ends=True)
    response = client.response(stream)
    assert (response.body, dict(response.trailers)["grpc-status"]) == (heard, "0")


def test_call_that_is_given_up_ends_at_the_server(client: Http3Client, echo: Echo) -> None:
    stream = client.request("/echo.Echo/Endless", GRPC, method="POST", body=framed(b""))
    client.until(lambda: len(client.responses[stream].body) > 10_000, "messages")
    client.cancel(stream, REQUEST_CANCELLED)
    client.until(lambda: echo.cancelled, "the server hears of it")
    assert call(client, "Once", b"and on").body == framed(b"and on")


def test_deadline_of_the_caller_is_the_servers(client: Http3Client) -> None:
    response = call(client, "Endless", fields=[("grpc-timeout", "200m")])
    assert response.is_over
    if response.reset is None:
        assert status(response)["grpc-status"] == DEADLINE_EXCEEDED
