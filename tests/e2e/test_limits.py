"""Limits: each has its response, its log field and its counter."""

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve, eventually
from e2e.kit.behaviours import raw
from e2e.kit.client import format_request


def limited(serve: Serve, origin: Origin, **limits: object) -> RunningGateway:
    routes = [{"path": "/small", "to": origin.address, "max_body_bytes": 10}, {"to": origin.address}]
    return serve({"routes": routes, "limits": limits, "access_log": {"flush": "50ms"}})


def test_head_that_is_too_large_gets_431(serve: Serve, origin: Origin) -> None:
    gateway = limited(serve, origin, max_head_bytes=2048)
    with gateway.client() as client:
        assert client.get("/", [("X-Fits", "y" * 1500)]).status == 200
        refused = client.get("/", [("X-Large", "y" * 3000)])
        assert refused.status == 431
        assert b"larger than the limit" in refused.body and b"max_head_bytes" not in refused.body
        assert client.is_closed()
    record = gateway.access_record(status=431)
    assert record["limit"] == "limits.max_head_bytes"
    assert gateway.counter("limit_head") == 1


def test_target_that_is_too_long_gets_414(serve: Serve, origin: Origin) -> None:
    gateway = limited(serve, origin, max_head_bytes=2048)
    with gateway.client() as client:
        assert client.get("/" + "a" * 4000).status == 414
        assert client.is_closed()
    assert gateway.access_record(status=414)["limit"] == "limits.max_head_bytes"
    assert gateway.counter("limit_head") == 1


def test_too_many_fields_get_431(serve: Serve, origin: Origin) -> None:
    gateway = limited(serve, origin, max_header_fields=20)
    with gateway.client() as client:
        assert client.get("/", [(f"X-{n}", "1") for n in range(15)]).status == 200
        assert client.get("/", [(f"X-{n}", "1") for n in range(25)]).status == 431
        assert client.is_closed()
    assert gateway.access_record(status=431)["limit"] == "limits.max_header_fields"


def test_endless_head_is_cut_before_it_ends(serve: Serve, origin: Origin) -> None:
    gateway = limited(serve, origin, max_head_bytes=4096)
    with gateway.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: gate.test\r\nX-Endless: " + b"a" * 6000)
        assert client.head().status == 431


@pytest.mark.parametrize("chunked", [False, True])
def test_body_that_is_too_large_gets_413(serve: Serve, origin: Origin, chunked: bool) -> None:
    gateway = limited(serve, origin, max_body_bytes=1000)
    body = b"x" * 1001
    with gateway.client() as client:
        assert client.request("POST", "/fits", body=b"y" * 1000).status == 200
        if chunked:
            client.send(b"POST /over HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        else:
            client.send(format_request("POST", "/over", body=body))
        assert client.response("POST").status == 413
        assert client.is_closed()
    assert gateway.access_record(target="/over")["limit"] == "limits.max_body_bytes"
    assert gateway.counter("limit_body") == 1
    assert origin.at("/fits")[0].body == b"y" * 1000
    assert [call for call in origin.calls if len(call.body) > 1000] == []


def test_declared_body_that_is_too_large_never_reaches_the_server(serve: Serve, origin: Origin) -> None:
    gateway = limited(serve, origin, max_body_bytes=1000)
    with gateway.client() as client:
        client.send(b"POST /over HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
        assert client.head().status == 413
    assert not origin.at("/over")


def test_route_may_have_its_own_body_limit(serve: Serve, origin: Origin) -> None:
    gateway = limited(serve, origin, max_body_bytes=1000)
    assert gateway.post("/small", b"x" * 10).status == 200
    assert gateway.post("/small", b"x" * 11).status == 413
    assert gateway.post("/other", b"x" * 11).status == 200


def test_connections_above_the_limit_are_turned_away(serve: Serve, origin: Origin) -> None:
    gateway = limited(serve, origin, max_connections=3)
    clients = hold(gateway, 3)
    refused_one_more(gateway)
    assert gateway.counter("limit_connections") >= 1
    assert gateway.counter("connections_active") == 3
    clients[0].close()
    eventually(lambda: gateway.counter("connections_active") == 2, "a place is free")
    assert gateway.get("/again").status == 200
    for client in clients[1:]:
        assert client.get("/still").status == 200
        client.close()


def test_connections_of_one_client_are_limited(serve: Serve, origin: Origin) -> None:
    gateway = limited(serve, origin, max_connections_per_client=2)
    clients = hold(gateway, 2)
    refused_one_more(gateway)
    assert gateway.counter("limit_client_connections") >= 1
    for client in clients:
        assert client.get("/still").status == 200
        client.close()
    eventually(lambda: gateway.counter("connections_active") == 0, "the places are free")
    assert gateway.get("/again").status == 200


def hold(gateway: RunningGateway, count: int) -> list[RawClient]:
    """Open connections, each of which has served a request."""
    eventually(lambda: gateway.counter("connections_active") == 0, "no connection is left of the start")
    clients = [gateway.client() for _ in range(count)]
    for client in clients:
        assert client.get("/held").status == 200
    return clients


def refused_one_more(gateway: RunningGateway) -> None:
    """A further connection is closed at once."""
    with gateway.client() as client:
        assert client.read_to_end() == b""


def test_connection_closes_after_its_number_of_requests(serve: Serve, origin: Origin) -> None:
    gateway = limited(serve, origin, max_requests_per_connection=3)
    with gateway.client() as client:
        assert [client.get("/n").get("connection") for _ in range(3)] == [None, None, "close"]
        assert client.is_closed()


def test_chunk_extensions_are_limited(serve: Serve, origin: Origin) -> None:
    gateway = limited(serve, origin, max_chunk_extension_bytes=100)
    with gateway.client() as client:
        client.send(b"POST /ext HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"1;" + b"e" * 300 + b"\r\nx\r\n0\r\n\r\n")
        assert client.response("POST").status in (400, 413)
        assert client.is_closed()


def test_trailers_are_limited(serve: Serve, origin: Origin) -> None:
    gateway = limited(serve, origin, max_trailer_bytes=100)
    with gateway.client() as client:
        client.send(b"POST /trailers HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"1\r\nx\r\n0\r\nX-Long: " + b"t" * 300 + b"\r\n\r\n")
        assert client.response("POST").status in (400, 431)
        assert client.is_closed()


def test_response_head_that_is_too_large_is_a_502(serve: Serve, origin: Origin) -> None:
    gateway = limited(serve, origin, max_head_bytes=2048)
    origin.on(
        "/big-head", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Big: " + b"b" * 5000 + b"\r\n\r\n")
    )
    assert gateway.get("/big-head").status == 502
    assert gateway.get("/after").status == 200


def test_connections_of_a_server_are_limited(serve: Serve, origin: Origin) -> None:
    upstream = {"servers": f"{origin.address} max_connections=1", "retries": 0}
    gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}], "access_log": {"flush": "50ms"}})
    origin.on("/held", lambda call: call.hang())
    with gateway.client() as first:
        first.send(format_request("GET", "/held"))
        origin.wait_for("/held")
        with gateway.client() as second:
            second.send(format_request("GET", "/second"))
            assert second.response().status == 503
        assert not origin.at("/second")
    eventually(lambda: gateway.get("/second").status == 200, "the place is free again")
