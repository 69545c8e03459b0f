"""Header fields: what goes on as it is, what stays on its hop, what the gateway adds."""

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve
from e2e.kit.behaviours import reply


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module({"routes": [{"to": origin.address}]})


@pytest.fixture(scope="module")
def telling(serve_module: Serve, origin: Origin) -> RunningGateway:
    """A gateway with Forwarded and Via switched on, and X-Forwarded off."""
    forwarding = {"forwarded": True, "via": True, "x_forwarded": False, "name": "edge1"}
    return serve_module({"routes": [{"to": origin.address}], "forwarding": forwarding})


def sent(origin: Origin, path: str) -> Call:
    return origin.wait_for(path)


def test_fields_keep_their_case_order_and_repetition(gateway: RunningGateway, origin: Origin) -> None:
    fields = [("X-Two", "1"), ("aCCept", "a/b"), ("X-Two", "2"), ("X-Empty", ""), ("X-Sp", "a  b")]
    gateway.get("/order", fields)
    own = [
        pair for pair in sent(origin, "/order").fields if pair[0] in {"X-Two", "aCCept", "X-Empty", "X-Sp"}
    ]
    assert own == fields


def test_response_fields_keep_their_case_order_and_repetition(
    gateway: RunningGateway, origin: Origin
) -> None:
    fields = [("Set-Cookie", "a=1"), ("X-CaSe", "v"), ("Set-Cookie", "b=2")]
    origin.on("/order-back", reply(b"", fields=fields))
    response = gateway.get("/order-back")
    assert [pair for pair in response.fields if pair[0] in {"Set-Cookie", "X-CaSe"}] == fields


def test_bytes_above_ascii_go_through(gateway: RunningGateway, origin: Origin) -> None:
    gateway.get("/bytes", [("X-Name", "J\xf6rg \xff")])
    assert sent(origin, "/bytes").get("x-name") == "J\xf6rg \xff"


def test_hop_by_hop_fields_stay_on_their_hop(gateway: RunningGateway, origin: Origin) -> None:
    fields = [
        ("Connection", "keep-alive, X-Secret"),
        ("X-Secret", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "gzip"),
        ("X-Kept", "1"),
    ]
    gateway.get("/hops", fields)
    call = sent(origin, "/hops")
    for name in ("x-secret", "keep-alive", "proxy-connection", "te"):
        assert call.get(name) is None, name
    assert call.get("x-kept") == "1"


def test_hop_by_hop_fields_of_a_response_stay_on_their_hop(gateway: RunningGateway, origin: Origin) -> None:
    fields = [("Connection", "X-Secret"), ("X-Secret", "1"), ("Keep-Alive", "timeout=5"), ("X-Kept", "1")]
    origin.on("/hops-back", reply(b"", fields=fields))
    response = gateway.get("/hops-back")
    assert response.get("x-secret") is None
    assert response.get("keep-alive") is None
    assert response.get("x-kept") == "1"


@pytest.mark.parametrize("name", ["Host", "Content-Length"])
def test_connection_may_not_name_framing_fields(gateway: RunningGateway, origin: Origin, name: str) -> None:
    assert gateway.post("/named", b"abc", [("Connection", name)]).status == 400
    assert not origin.at("/named")


def test_x_forwarded_fields_are_added(gateway: RunningGateway, origin: Origin) -> None:
    gateway.get("/xff", host="shop.test:8080")
    call = sent(origin, "/xff")
    assert call.all("x-forwarded-for") == ["127.0.0.1"]
    assert call.all("x-forwarded-proto") == ["http"]
    assert call.all("x-forwarded-host") == ["shop.test:8080"]


def test_x_forwarded_for_is_appended_to(gateway: RunningGateway, origin: Origin) -> None:
    gateway.get("/xff-chain", [("X-Forwarded-For", "203.0.113.7")])
    assert ", ".join(sent(origin, "/xff-chain").all("x-forwarded-for")) == "203.0.113.7, 127.0.0.1"


def test_forwarded_and_via_are_off_unless_asked_for(gateway: RunningGateway, origin: Origin) -> None:
    response = gateway.get("/plain")
    call = sent(origin, "/plain")
    assert call.get("forwarded") is None
    assert call.get("via") is None
    assert response.get("via") is None


def test_forwarded_says_who_asked_how(telling: RunningGateway, origin: Origin) -> None:
    telling.get("/forwarded", host="shop.test")
    call = sent(origin, "/forwarded")
    pairs = dict(pair.strip().split("=", 1) for pair in (call.get("forwarded") or "").lower().split(";"))
    assert pairs["for"] == "127.0.0.1"
    assert pairs["proto"] == "http"
    assert pairs["host"].strip('"') == "shop.test"
    assert call.get("x-forwarded-for") is None


def test_via_is_added_both_ways(telling: RunningGateway, origin: Origin) -> None:
    origin.on("/via", reply(b"", fields=[("Via", "1.0 inner")]))
    response = telling.get("/via", [("Via", "1.1 outer")])
    assert ", ".join(sent(origin, "/via").all("via")) == "1.1 outer, 1.1 edge1"
    assert ", ".join(response.all("via")) == "1.0 inner, 1.1 edge1"


def test_host_is_kept_for_the_server(gateway: RunningGateway, origin: Origin) -> None:
    gateway.get("/host", host="Shop.Test:81")
    assert sent(origin, "/host").all("host") == ["Shop.Test:81"]


@pytest.mark.parametrize(("setting", "expected"), [("server", None), ("fixed.test", "fixed.test")])
def test_host_may_be_rewritten(serve: Serve, origin: Origin, setting: str, expected: str | None) -> None:
    upstream = {"servers": [origin.address], "host": setting}
    gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]})
    gateway.get("/host-set", host="client.test")
    call = sent(origin, "/host-set")
    assert call.all("host") == [expected or origin.address]
    assert call.get("x-forwarded-host") == "client.test"


def test_absolute_form_overrides_host_and_goes_on_as_origin_form(
    gateway: RunningGateway, origin: Origin
) -> None:
    with gateway.client() as client:
        client.send(b"GET http://real.test:99/abs?q=1 HTTP/1.1\r\nHost: other.test\r\n\r\n")
        assert client.response().status == 200
    call = sent(origin, "/abs")
    assert call.target == "/abs?q=1"
    assert call.all("host") == ["real.test:99"]


def test_absolute_form_without_path_means_root(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(b"GET http://real.test HTTP/1.1\r\nHost: real.test\r\n\r\n")
        assert client.response().json()["target"] == "/"


def test_asterisk_form_goes_through(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        client.send(b"OPTIONS * HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        assert client.response("OPTIONS").status == 200
    assert sent(origin, "*").method == "OPTIONS"


def test_path_and_query_arrive_as_sent(gateway: RunningGateway, origin: Origin) -> None:
    target = "/a%2Fb/%7Euser//x;p=1?q=%20a+b&empty=&q=%FF"
    assert gateway.get(target).json()["target"] == target


def test_request_id_is_made_and_told_to_the_server(gateway: RunningGateway, origin: Origin) -> None:
    gateway.get("/id")
    gateway.get("/id")
    ids = [call.get("x-request-id") or "" for call in origin.at("/id")]
    first, second = ids
    assert min(len(first), len(second)) >= 16
    assert first != second


def test_request_id_of_a_client_is_kept(gateway: RunningGateway, origin: Origin) -> None:
    gateway.get("/id-kept", [("X-Request-Id", "abc-123")])
    assert sent(origin, "/id-kept").all("x-request-id") == ["abc-123"]


def test_unknown_methods_go_through(gateway: RunningGateway, origin: Origin) -> None:
    with gateway.client() as client:
        assert client.request("PROPFIND", "/dav").status == 200
    assert sent(origin, "/dav").method == "PROPFIND"


def test_expectation_reaches_the_server(gateway: RunningGateway, origin: Origin) -> None:
    """RFC 9110 section 10.1.1: a proxy forwards it, unless it knows the server cannot meet it."""
    with gateway.client() as client:
        response = client.request("POST", "/expect", [("Expect", "100-continue")], b"x")
        assert response.status == 200
        assert [interim.status for interim in response.interim] == [100]
    assert sent(origin, "/expect").get("expect") == "100-continue"


def test_error_page_is_problem_json_with_the_request_id(serve: Serve) -> None:
    gateway = serve({"routes": [{"path": "/only", "respond": "x"}]})
    response = gateway.get("/nowhere", [("X-Request-Id", "trace-7")])
    assert (response.status, response.get("content-type")) == (404, "application/problem+json")
    assert response.json()["status"] == 404
    assert response.json()["request_id"] == "trace-7"


def test_error_page_is_html_for_a_browser(serve: Serve) -> None:
    gateway = serve({"routes": [{"path": "/only", "respond": "x"}]})
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    response = gateway.get("/%3Cb%3E", [("Accept", accept), ("X-Request-Id", "trace-8")])
    assert (response.get("content-type") or "").startswith("text/html")
    assert "404" in response.text
    assert "trace-8" in response.text
    assert "<b></b>" not in response.text.replace("<b>404</b>", "")
