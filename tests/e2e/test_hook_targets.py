"""A path that a hook makes of what a client sent is sent only if servers can understand it in one way."""

import json
from urllib.parse import quote

import pytest
from e2e.kit import Origin, RunningGateway, Serve

GATE = """
import json
from urllib.parse import unquote
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
servers = gate.upstream("servers", ORIGIN, retries=0)


def change(request):
    attribute, value = json.loads(unquote(request.headers["x-change"]))
    try:
        setattr(request, attribute, value)
    except ValueError as error:
        return Response(418, str(error))
    return None


gate.route("/request", to=servers).request(change)


@gate.route("/remove/{side}", to=servers)
def remove(request):
    if request.params["side"] == "request":
        try:
            del request.headers["host"]
        except ValueError as error:
            return Response(418, str(error))


@remove.response
def remove_length(request, response):
    try:
        if request.params["side"] == "response":
            response.headers.pop("content-length")
    except ValueError as error:
        response.headers["x-told"] = str(error)
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address})


def changed(gateway: RunningGateway, origin: Origin, attribute: str, value: str) -> str:
    """The target that the origin was sent, or why there is none."""
    change = quote(json.dumps([attribute, value]))
    response = gateway.get("/request", [("x-change", change)])
    if response.status == 418:
        assert not origin.calls
        return response.text
    (call,) = origin.calls
    return call.target


@pytest.mark.parametrize("attribute", ["path", "target"])
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("/a#b", "is not a target"),
        ("/a%", "not followed by two hexadecimal digits"),
        ("/a%zz", "not followed by two hexadecimal digits"),
        ("/a%00b", "NUL"),
        ("/../a", "above the root"),
        ("/a/%2e%2e/%2e%2e/b", "above the root"),
        ("/a/..%2fb", "dot segment"),
        ("/a/..;x/b", "dot segment"),
        ("/a b", "is not a target"),
        ("http://other/", "is not a target"),
    ],
)
def test_what_clients_may_not_send_is_refused_from_hooks(
    gateway: RunningGateway, origin: Origin, attribute: str, value: str, why: str
) -> None:
    assert why in changed(gateway, origin, attribute, value)


@pytest.mark.parametrize("attribute", ["path", "target"])
@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("/a/../b", "/b"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/./b", "/a/b"),
        ("/a\\b", "/a%5Cb"),
        ("/a%2fb", "/a%2fb"),
        ("/a%41", "/a%41"),
        ("//a", "//a"),
        ("/a;b=c@d:e", "/a;b=c@d:e"),
    ],
)
def test_what_could_be_understood_otherwise_is_sent_in_one_form(
    gateway: RunningGateway, origin: Origin, attribute: str, value: str, sent: str
) -> None:
    assert changed(gateway, origin, attribute, value) == sent


def test_a_query_is_sent_as_it_is(gateway: RunningGateway, origin: Origin) -> None:
    assert changed(gateway, origin, "target", "/a?b=../c&d=100%") == "/a?b=../c&d=100%"
    origin.clear()
    assert "is not a target" in changed(gateway, origin, "target", "/a?b#c")


def test_what_the_gateway_writes_cannot_be_removed_and_says_so(
    gateway: RunningGateway, origin: Origin
) -> None:
    response = gateway.get("/remove/request")
    assert (response.status, response.text.partition(";")[0]) == (418, "`host` cannot be removed")
    response = gateway.get("/remove/response")
    assert response.status == 200
    assert (response.get("x-told") or "").startswith("`content-length` cannot be removed; hint: the gateway")
    assert response.get("content-length") == str(len(response.body))
