"""What RFC 9110 asks of an intermediary: sections 6.6, 7.6, 8.6 and 15, a test for each duty."""

import email.utils
import re
from collections.abc import Callable

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import chunked, raw, reply
from e2e.kit.client import Fields
from e2e.kit.http2 import Http2Client

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
VERSIONS = ["HTTP/1.1", "HTTP/2"]


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module({"routes": [{"path": "/fixed", "respond": {"body": "ok"}}, {"to": origin.address}]})


@pytest.fixture(scope="module")
def naming(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module({"routes": [{"to": origin.address}], "forwarding": {"via": True}})


def ask(
    gateway: RunningGateway, version: str, target: str, *, method: str = "GET", fields: Fields = ()
) -> tuple[int, Callable[[str], list[str]], bytes]:
    """The status, all values of a field, and the content."""
    if version == "HTTP/2":
        with Http2Client(gateway.address) as client:
            http2_response = client.response(client.request(target, method=method, fields=fields))
        assert http2_response.is_ended
        return (
            http2_response.status,
            lambda name: [value for key, value in http2_response.fields if key == name],
            http2_response.body,
        )
    with gateway.client() as client:
        response = client.request(method, target, fields)
    return response.status, response.all, response.body


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", ["/undated", "/fixed", "/no-such\x7f"])
def test_a_response_without_date_gets_one(
    gateway: RunningGateway, origin: Origin, version: str, target: str
) -> None:
    """Section 6.6.1."""
    if "\x7f" in target and version == "HTTP/2":
        target = "/%zz"
    origin.on("/undated", raw(OK))
    _, fields, _ = ask(gateway, version, target)
    (date,) = fields("date")
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", date)
    email.utils.parsedate_to_datetime(date)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_servers_date_stays(gateway: RunningGateway, origin: Origin, version: str) -> None:
    """Section 6.6.1: only a response without one gets one."""
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    origin.on("/dated", reply(fields=[("Date", date)]))
    _, fields, _ = ask(gateway, version, "/dated")
    assert fields("date") == [date]


def test_trailer_names_go_on(gateway: RunningGateway, origin: Origin) -> None:
    """Section 6.6.2: a promise to the recipient of the message, which the next hop is not."""
    origin.on("/promised", chunked([b"a"], trailers=[("X-Sum", "1")], fields=[("Trailer", "X-Sum")]))
    response = gateway.get("/promised", [("Trailer", "X-Client")])
    assert response.get("trailer") == "X-Sum"
    assert response.trailers == [("X-Sum", "1")]
    assert origin.wait_for("/promised").get("trailer") == "X-Client"


def test_connection_and_what_it_names_end_here(gateway: RunningGateway, origin: Origin) -> None:
    """Section 7.6.1, both ways."""
    hop = [("Connection", "x-hop, keep-alive"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5")]
    origin.on("/hop", reply(fields=hop))
    response = gateway.get(
        "/hop", [*hop, ("Proxy-Connection", "keep-alive"), ("TE", "gzip"), ("X-Kept", "1")]
    )
    call = origin.wait_for("/hop")
    for name in ["x-hop", "keep-alive", "proxy-connection", "te", "upgrade"]:
        assert (call.get(name), response.get(name)) == (None, None), name
    assert call.get("x-kept") == "1"


def test_te_is_sent_anew_and_named_in_connection(gateway: RunningGateway, origin: Origin) -> None:
    """Section 10.1.4."""
    gateway.get("/te", [("TE", "trailers, gzip"), ("Connection", "TE")])
    call = origin.wait_for("/te")
    assert (call.get("te"), (call.get("connection") or "").lower()) == ("trailers", "te")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_max_forwards_is_counted_down(
    gateway: RunningGateway, origin: Origin, version: str, method: str
) -> None:
    """Section 7.6.2."""
    ask(gateway, version, "/counted", method=method, fields=[("max-forwards", "3")])
    assert origin.wait_for("/counted").all("max-forwards") == ["2"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_max_forwards_of_0_ends_here(
    gateway: RunningGateway, origin: Origin, version: str, method: str
) -> None:
    """Section 7.6.2: the gateway responds as the final recipient."""
    sent = [("max-forwards", "0"), ("x-a", "1"), ("cookie", "secret"), ("authorization", "secret")]
    status, fields, body = ask(gateway, version, "/last", method=method, fields=sent)
    assert status == 200
    assert origin.at("/last") == []
    if method == "TRACE":
        # section 9.3.8
        assert fields("content-type") == ["message/http"]
        assert body.startswith(b"TRACE /last HTTP/1.1\r\nHost: gate.test\r\n")
        assert b"x-a: 1\r\n" in body
        assert b"secret" not in body
    else:
        assert (fields("content-length"), body) == (["0"], b"")


@pytest.mark.parametrize(
    ("method", "value"), [("GET", "0"), ("POST", "0"), ("OPTIONS", "-1"), ("OPTIONS", "x"), ("TRACE", "")]
)
def test_other_max_forwards_mean_nothing(
    gateway: RunningGateway, origin: Origin, method: str, value: str
) -> None:
    """Section 7.6.2: on other methods it is ignored; so is one that is no number."""
    assert gateway.client().request(method, "/ignored", [("Max-Forwards", value)]).status == 200
    assert origin.wait_for("/ignored").all("max-forwards") == [value]


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_more_forwards_than_can_be_counted_are_as_many_as_can(
    gateway: RunningGateway, origin: Origin, method: str
) -> None:
    """Section 7.6.2: the number that goes on is at most the largest one supported."""
    ask(gateway, "HTTP/1.1", "/many", method=method, fields=[("max-forwards", "9" * 30)])
    (value,) = origin.wait_for("/many").all("max-forwards")
    assert int(value) < 1 << 64


@pytest.mark.parametrize("version", VERSIONS)
def test_a_426_goes_on_with_the_protocols_it_names(
    gateway: RunningGateway, origin: Origin, version: str
) -> None:
    """Section 15.5.22; in HTTP/2 there is no Upgrade."""
    fields = [("Upgrade", "websocket"), ("Connection", "upgrade"), ("Sec-WebSocket-Version", "13")]
    origin.on("/426", reply(status="426 Upgrade Required", fields=fields))
    status, all_of, _ = ask(gateway, version, "/426")
    assert (status, all_of("sec-websocket-version")) == (426, ["13"])
    is_told = version == "HTTP/1.1"
    assert all_of("upgrade") == (["websocket"] if is_told else [])
    assert ("upgrade" in all_of("connection")) == is_told


def test_via_names_the_gateway_both_ways(naming: RunningGateway, origin: Origin) -> None:
    """Section 7.6.3, where it is asked for."""
    origin.on("/via", reply(fields=[("Via", "1.0 inner")], version="1.0"))
    response = naming.get("/via", [("Via", "2 outer")])
    assert re.fullmatch(r"2 outer, 1\.1 \S+", ", ".join(origin.wait_for("/via").all("via")))
    assert re.fullmatch(r"1\.0 inner, 1\.0 \S+", ", ".join(response.all("via")))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "framing", [b"", b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"]
)
def test_a_204_goes_on_without_framing(
    gateway: RunningGateway, origin: Origin, version: str, framing: bytes
) -> None:
    """Section 8.6."""
    origin.on("/204", raw(b"HTTP/1.1 204 No Content\r\n" + framing + b"\r\n"))
    status, fields, body = ask(gateway, version, "/204")
    assert (status, body) == (204, b"")
    assert fields("content-length") == fields("transfer-encoding") == []
    assert gateway.get("/after").json()["target"] == "/after"
    is_sound = framing in (b"", b"Content-Length: 0\r\n")
    is_reused = origin.wait_for("/after").connection_number == origin.at("/204")[0].connection_number
    assert is_reused == is_sound


@pytest.mark.parametrize("version", VERSIONS)
def test_a_205_goes_on_without_content(gateway: RunningGateway, origin: Origin, version: str) -> None:
    """Section 15.3.6."""
    origin.on("/205", raw(b"HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok"))
    status, fields, body = ask(gateway, version, "/205")
    assert (status, fields("content-length"), body) == (205, ["0"], b"")


@pytest.mark.parametrize(
    "framing", [b"", b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"]
)
def test_interim_responses_go_on_without_framing(
    gateway: RunningGateway, origin: Origin, framing: bytes
) -> None:
    """Sections 8.6 and 15.2."""
    origin.on("/hints", raw(b"HTTP/1.1 103 Early Hints\r\n" + framing + b"Link: </a>\r\n\r\n" + OK))
    response = gateway.get("/hints")
    (interim,) = response.interim
    assert (interim.status, interim.fields) == (103, [("Link", "</a>")])
    assert (response.status, response.body) == (200, b"ok")
    assert gateway.get("/after").json()["target"] == "/after"
    is_sound = framing in (b"", b"Content-Length: 0\r\n")
    is_reused = origin.wait_for("/after").connection_number == origin.at("/hints")[0].connection_number
    assert is_reused == is_sound


def test_interim_responses_do_not_go_to_http10(gateway: RunningGateway, origin: Origin) -> None:
    """Section 15.2."""
    origin.on("/hints-10", raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK))
    with gateway.client() as client:
        client.send(b"GET /hints-10 HTTP/1.0\r\nHost: gate.test\r\n\r\n")
        assert client.read_to_end().startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_expectation_goes_on(gateway: RunningGateway, origin: Origin) -> None:
    """Section 10.1.1."""
    origin.on("/expected", reply())
    with gateway.client() as client:
        response = client.request("POST", "/expected", [("Expect", "100-continue")], b"abc")
    assert [interim.status for interim in response.interim] == [100]
    assert origin.wait_for("/expected").get("expect") == "100-continue"


def test_lists_stay_in_order_and_unknown_fields_go_on(gateway: RunningGateway, origin: Origin) -> None:
    """Sections 5.2, 5.3 and 5.1."""
    fields = [("X-List", "1"), ("X-New", "a"), ("x-list", "2")]
    origin.on("/fields", reply(fields=fields))
    response = gateway.get("/fields", fields)
    call = origin.wait_for("/fields")
    for message in (response, call):
        assert (message.all("x-list"), message.get("x-new")) == (["1", "2"], "a")


def test_content_is_not_changed(gateway: RunningGateway, origin: Origin) -> None:
    """Section 7.7: without hooks, nothing is."""
    body = bytes(range(256)) * 40
    coded = [("Content-Encoding", "br"), ("ETag", '"a"'), ("Cache-Control", "no-transform")]
    origin.on("/coded", reply(body, fields=coded))
    response = gateway.get("/coded")
    assert response.body == body
    assert [response.get(name) for name, _ in coded] == [value for _, value in coded]
