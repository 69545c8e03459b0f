"""A 408 on a kept connection tells that no request came for long: it is about the connection, not about the request."""

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve

LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n%b\r\nlate"


def late(closing: bytes = b"Connection: close\r\n"):
    """408 to every request on a connection but its first, as a server does whose 408 and the request have crossed."""
    seen: set[int] = set()

    def behaviour(call: Call) -> None:
        call.read_body()
        if call.connection_number in seen:
            call.send(LATE % closing)
            call.close()
            return
        seen.add(call.connection_number)
        call.respond(b"here")

    return behaviour


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(
        """
import headgate
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
servers = gate.upstream("servers", ORIGIN + " max_fails=0", retries=0)


@gate.route("/fetched/{method}")
async def fetched(request):
    response = await headgate.fetch(f"http://{ORIGIN}/late-fetched", method=request.params["method"])
    return Response(response.status, await response.body())


gate.route("/", to=servers)
""",
        names={"ORIGIN": origin.address},
    )


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_idempotent_request_is_sent_again(gateway: RunningGateway, origin: Origin, method: str) -> None:
    origin.on("/late", late())
    body = b"content" if method == "PUT" else None
    with gateway.client() as client:
        for _ in range(3):
            response = client.request(method, "/late", body=body)
            assert (response.status, response.body) == (200, b"here")


def test_another_request_is_not_sent_twice(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/late-post", late())
    with gateway.client() as client:
        statuses = [client.request("POST", "/late-post", body=b"once").status for _ in range(2)]
    assert statuses == [200, 408]
    assert len(origin.at("/late-post")) == 2


def test_a_408_that_keeps_its_connection_is_a_response_like_any(
    gateway: RunningGateway, origin: Origin
) -> None:
    origin.on("/late-kept", late(closing=b""))
    with gateway.client() as client:
        assert [client.get("/late-kept").status for _ in range(2)] == [200, 408]


def test_a_408_on_a_fresh_connection_is_a_response_like_any(gateway: RunningGateway, origin: Origin) -> None:
    def behaviour(call: Call) -> None:
        call.send(LATE % b"Connection: close\r\n")
        call.close()

    origin.on("/fresh", behaviour)
    origin.drop_connections()
    with gateway.client() as client:
        response = client.get("/fresh")
    assert (response.status, response.body) == (408, b"late")
    assert len(origin.at("/fresh")) == 1


def test_fetches_are_sent_again_as_well(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/late-fetched", late())
    with gateway.client() as client:
        assert [client.get("/fetched/GET").status for _ in range(3)] == [200] * 3
