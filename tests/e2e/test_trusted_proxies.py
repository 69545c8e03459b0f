"""Who the client is behind proxies that speak HTTP."""

from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve

GATE = """
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.trusted_proxies(*TRUSTED)
gate.access_log("json", to="file:" + FOLDER + "/access.log")
gate.route("/api/*", to=gate.upstream("api", ORIGIN))

@gate.route("/client")
def client(request):
    seen = request.headers.get("x-forwarded-for")
    return Response.json([request.client.address, request.scheme, seen])
"""


OF_PROXIES = ["X-Forwarded-Prefix", "X-Forwarded-Ssl", "X-Forwarded-User", "X-Forwarded-Tls-Client-Cert"]


@pytest.fixture(scope="module")
def trusting(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address, "TRUSTED": ["127.0.0.0/8", "10.0.0.0/8"]})


@pytest.fixture(scope="module")
def distrusting(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address, "TRUSTED": ["192.0.2.0/24"]})


def seen(gateway: RunningGateway, *fields: tuple[str, str]) -> Any:
    return gateway.get("/client", fields).json()


def test_right_most_untrusted_hop_is_the_client(trusting: RunningGateway) -> None:
    hops = ("X-Forwarded-For", "1.1.1.1, 203.0.113.9, 10.1.1.1")
    assert seen(trusting, hops)[:2] == ["203.0.113.9", "http"]
    trusting.access_record(trusting.folder / "access.log", client="203.0.113.9")
    assert seen(trusting, ("Forwarded", 'for="[2001:db8::1]:99"'))[0] == "2001:db8::1"
    assert seen(trusting, ("X-Real-IP", "203.0.113.8"))[0] == "203.0.113.8"


def test_trusted_proxy_tells_the_scheme(trusting: RunningGateway) -> None:
    fields = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")]
    assert seen(trusting, *fields)[:2] == ["203.0.113.9", "https"]


def test_hops_are_passed_on_with_the_last_one_added(trusting: RunningGateway, origin: Origin) -> None:
    fields = [("X-Forwarded-For", "203.0.113.9, 10.1.1.1"), ("X-Forwarded-Host", "www.example.com")]
    trusting.get("/api/hops", fields)
    call = origin.wait_for("/api/hops")
    assert call.all("x-forwarded-for") == ["203.0.113.9, 10.1.1.1, 127.0.0.1"]
    assert call.all("x-forwarded-host") == ["www.example.com"]


def test_what_an_untrusted_peer_says_is_dropped(distrusting: RunningGateway, origin: Origin) -> None:
    fields = [
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
        ("Forwarded", "for=203.0.113.9"),
        ("X-Real-IP", "203.0.113.9"),
        *((name, "told") for name in OF_PROXIES),
    ]
    assert seen(distrusting, *fields) == ["127.0.0.1", "http", None]
    distrusting.get("/api/dropped", fields)
    call = origin.wait_for("/api/dropped")
    assert call.all("x-forwarded-for") == ["127.0.0.1"]
    assert call.all("x-forwarded-proto") == ["http"]
    assert call.all("x-forwarded-host") == ["gate.test"]
    assert call.all("forwarded") == call.all("x-real-ip") == []
    assert [name for name in OF_PROXIES if call.get(name)] == []


def test_a_trusted_proxy_may_tell_more(trusting: RunningGateway, origin: Origin) -> None:
    trusting.get("/api/more", [(name, "told") for name in OF_PROXIES])
    assert all(origin.wait_for("/api/more").get(name) == "told" for name in OF_PROXIES)


@pytest.mark.parametrize("name", ["X_Forwarded_Prefix", "X-Forwarded_User", "X.Forwarded.Ssl", "Proxy"])
def test_nobody_sends_what_cgi_takes_for_another_field(
    trusting: RunningGateway, origin: Origin, name: str
) -> None:
    """`Proxy` becomes `HTTP_PROXY`, which libraries take for the proxy that they are to use."""
    trusting.get("/api/cgi", [(name, "told"), ("X_Other", "kept")])
    call = origin.wait_for("/api/cgi")
    assert (call.get(name), call.get("x_other")) == (None, "kept")
