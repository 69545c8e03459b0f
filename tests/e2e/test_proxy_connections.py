"""Connections of clients and servers: keep-alive, pipelining, versions, half-closing, interim responses."""

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually
from e2e.kit.behaviours import raw, raw_early, reply


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module({"routes": [{"to": origin.address}]})


def test_client_connection_serves_many_requests(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        assert [client.get(f"/{n}").status for n in range(20)] == [200] * 20


def test_server_connection_is_shared_by_clients(gateway: RunningGateway, origin: Origin) -> None:
    for _ in range(10):
        gateway.get("/shared")
    assert len({call.connection_number for call in origin.at("/shared")}) == 1


def test_connection_close_of_a_client_is_obeyed(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        response = client.get("/bye", [("Connection", "close")])
        assert response.get("connection") == "close"
        assert client.is_closed()


def test_connection_close_of_a_server_is_obeyed(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/server-close", reply(b"x", fields=[("Connection", "close")]))
    with gateway.client() as client:
        assert client.get("/server-close").get("connection") != "close"
        client.get("/server-close")
    calls = origin.at("/server-close")
    assert calls[0].connection_number != calls[1].connection_number


def test_pipelined_requests_get_their_responses_in_order(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(b"".join(b"GET /pipe?n=%d HTTP/1.1\r\nHost: gate.test\r\n\r\n" % n for n in range(50)))
        targets = [client.response().json()["target"] for _ in range(50)]
    assert targets == [f"/pipe?n={n}" for n in range(50)]


def test_pipelined_bodies_are_told_apart(gateway: RunningGateway, origin: Origin) -> None:
    one = b"POST /pp HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 3\r\n\r\nabc"
    two = b"POST /pp HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n"
    with gateway.client() as client:
        client.send(one + two + one)
        assert [client.response("POST").json()["body"] for _ in range(3)] == ["abc", "def", "abc"]


def test_empty_lines_before_a_request_are_skipped(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(b"\r\n\r\nGET /crlf HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        assert client.response().status == 200


def test_head_may_come_byte_by_byte(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        for byte in b"GET /bytes HTTP/1.1\r\nHost: gate.test\r\n\r\n":
            client.send(bytes([byte]))
        assert client.response().json()["target"] == "/bytes"


def test_http_1_0_client_is_closed_after_the_response(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(b"GET /ten HTTP/1.0\r\n\r\n")
        assert client.response().status == 200
        assert client.is_closed()


def test_http_1_0_client_may_ask_for_keep_alive(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        for _ in range(2):
            client.send(b"GET /ten HTTP/1.0\r\nHost: gate.test\r\nConnection: keep-alive\r\n\r\n")
            response = client.response()
            assert (response.status, (response.get("connection") or "").lower()) == (200, "keep-alive")


def test_server_is_asked_with_http_1_1(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(b"GET /version HTTP/1.0\r\nHost: gate.test\r\n\r\n")
        assert client.response().json()["version"] == "HTTP/1.1"


def test_response_of_an_http_1_0_server_with_length_is_relayed(
    gateway: RunningGateway, origin: Origin
) -> None:
    origin.on("/ten-server", raw(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", then="close"))
    with gateway.client() as client:
        response = client.get("/ten-server")
        assert (response.version, response.body) == ("HTTP/1.1", b"abc")
        assert client.get("/after").status == 200


def test_http_1_0_server_is_not_reused_without_keep_alive(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/ten-kept", raw(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
    gateway.get("/ten-kept")
    gateway.get("/ten-kept")
    calls = origin.at("/ten-kept")
    assert calls[0].connection_number != calls[1].connection_number


def test_http_1_0_response_until_close_is_relayed(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/ten-until", raw(b"HTTP/1.0 200 OK\r\n\r\nall of it", then="close"))
    with gateway.client() as client:
        assert client.get("/ten-until").body == b"all of it"
        assert client.get("/after").status == 200


def test_100_continue_comes_before_the_body_is_sent(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(
            b"POST /expect HTTP/1.1\r\nHost: gate.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
        assert client.head().status == 100
        client.send(b"body")
        assert client.response("POST").json()["body"] == "body"


def test_expecting_client_that_is_refused_sees_no_100(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(
            b"POST /expect HTTP/1.1\r\nHost: a\r\nHost: b\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
        assert client.head().status == 400


def test_http_1_0_client_gets_no_interim_response(gateway: RunningGateway, origin: Origin) -> None:
    origin.on(
        "/early-hints-10",
        raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
    )
    with gateway.client() as client:
        client.send(b"POST /early-hints-10 HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab")
        assert client.head().status == 204


def test_interim_responses_of_a_server_reach_the_client(gateway: RunningGateway, origin: Origin) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    origin.on("/hints", raw(hints + hints, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    response = gateway.get("/hints")
    assert (response.status, response.body) == (200, b"ok")
    assert [interim.status for interim in response.interim] == [103, 103]
    assert response.interim[0].get("link") == "</style.css>; rel=preload"


def test_100_of_a_server_that_nobody_expects_is_not_harmful(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/odd-100", raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    with gateway.client() as client:
        assert client.get("/odd-100").body == b"ok"
        assert client.get("/after").status == 200


def test_early_response_of_a_server_reaches_a_sending_client(gateway: RunningGateway, origin: Origin) -> None:
    origin.on(
        "/early",
        raw_early(
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", then="close"
        ),
    )
    with gateway.client() as client:
        client.send(
            b"POST /early HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 1000
        )
        response = client.response("POST")
        assert (response.status, response.body) == (403, b"no")


def test_rest_of_the_body_after_an_early_response_is_no_request(
    gateway: RunningGateway, origin: Origin
) -> None:
    def early(call: Call) -> None:
        call.respond(b"soon", status="202 Accepted")
        call.read_body()

    origin.on("/early-kept", early)
    with gateway.client() as client:
        client.send(b"POST /early-kept HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 6\r\n\r\nabc")
        response = client.response("POST")
        assert (response.status, response.body) == (202, b"soon")
        if response.get("connection") != "close":
            client.send(b"def")
            assert client.get("/after").json()["target"] == "/after"


def test_client_that_half_closes_after_its_request_is_noticed_as_gone(serve: Serve, origin: Origin) -> None:
    gone: list[bool] = []

    def watch(call: Call) -> None:
        call.hang()
        gone.append(True)

    origin.on("/half", watch)
    gateway = serve({"routes": [{"to": origin.address}], "access_log": {"flush": "50ms"}})
    with gateway.client() as client:
        client.send(b"GET /half HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        origin.wait_for("/half")
        client.half_close()
        eventually(lambda: gone, "the connection to the server is given up")
    assert gateway.access_record(target="/half")["status"] == 499


def test_half_closed_client_gets_its_response_where_that_is_allowed(serve: Serve, origin: Origin) -> None:
    gateway = serve({"routes": [{"to": origin.address}], "limits": {"allow_half_close": True}})
    with gateway.client() as client:
        client.send(b"GET /half-allowed HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        client.half_close()
        assert client.response().json()["target"] == "/half-allowed"
        assert client.is_closed()


def test_client_that_leaves_frees_the_server_connection(gateway: RunningGateway, origin: Origin) -> None:
    gone: list[bool] = []

    def watch(call: Call) -> None:
        call.hang()
        gone.append(True)

    origin.on("/leave", watch)
    with gateway.client() as client:
        client.send(b"GET /leave HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        origin.wait_for("/leave")
    eventually(lambda: gone, "the connection to the server is given up")
    assert gateway.get("/after").status == 200
