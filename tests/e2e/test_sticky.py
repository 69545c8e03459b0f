"""Sticky sessions: clients stay with their server by a signed cookie."""

import base64
import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.kit import Origin, RawClient, RawResponse, RunningGateway, Serve, TlsClient, eventually
from e2e.kit.behaviours import hang, reply, upgrade_echo
from e2e.kit.client import format_request
from e2e.kit.http2 import Http2Client
from e2e.kit.http3 import Http3Client
from e2e.kit.pki import Authority

NAME = "headgate_server"
SECRET = "a secret of thirty-two characters or more"


@pytest.fixture
def quartet() -> Iterator[list[Origin]]:
    """Four servers."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin()) for _ in range(4)]


def source(
    *servers: Origin | str, sticky: dict[str, Any] | None = None, **upstream: object
) -> dict[str, Any]:
    addresses = [one if isinstance(one, str) else one.address for one in servers]
    own = {"sticky": sticky} if sticky else {}
    return {
        "upstreams": {"u": {"servers": addresses, "balance": "sticky", **own, **upstream}},
        "routes": [{"to": "u"}],
    }


def cookie_of(response: RawResponse, name: str = NAME) -> str | None:
    """The cookie that a response sets, as a client sends it."""
    set_cookies = [value for value in response.all("set-cookie") if value.startswith(f"{name}=")]
    assert len(set_cookies) <= 1, set_cookies
    return set_cookies[0].partition(";")[0] if set_cookies else None


def ask(
    gateway: RunningGateway, cookie: str | None = None, *, target: str = "/who", host: str = "gate.test"
) -> tuple[str, str | None]:
    """Who responds to a client with this cookie, and the cookie that it gets."""
    with gateway.client() as client:
        response = client.get(target, [("Cookie", cookie)] if cookie else [], host=host)
        assert response.status == 200, response
        return response.json()["origin"], cookie_of(response)


def begin(gateway: RunningGateway, **options: str) -> tuple[str, str]:
    """A new session: its server, and its cookie."""
    server, cookie = ask(gateway, **options)
    assert cookie is not None
    return server, cookie


def begin_with(gateway: RunningGateway, server: Origin) -> str:
    """The cookie of a new session with this server."""

    def found() -> str | None:
        who, cookie = begin(gateway)
        return cookie if who == server.address else None

    return str(eventually(found, f"a session with {server.address}"))


def test_a_client_stays_and_new_clients_are_spread(serve: Serve, quartet: list[Origin]) -> None:
    gateway = serve(source(*quartet), workers=2)
    sessions = [begin(gateway) for _ in range(80)]
    shares = Counter(server for server, _ in sessions)
    # each of the workers takes turns among all four
    assert len(shares) == 4 and max(shares.values()) - min(shares.values()) <= 2, shares
    for _ in range(2):
        assert [ask(gateway, cookie) for _, cookie in sessions] == [(server, None) for server, _ in sessions]


def test_a_cookie_hides_the_server_and_has_its_attributes(serve: Serve, quartet: list[Origin]) -> None:
    gateway = serve(source(*quartet))
    response = gateway.get("/who")
    [set_cookie] = response.all("set-cookie")
    value, *attributes = set_cookie.split("; ")
    assert attributes == ["Max-Age=86400", "Path=/", "HttpOnly", "SameSite=Lax"]
    decoded = base64.urlsafe_b64decode(value.partition("=")[2] + "=")
    host, port = response.json()["origin"].split(":")
    for told in (host.encode(), port.encode(), int(port).to_bytes(2, "big"), int(port).to_bytes(2, "little")):
        assert told not in decoded[:8]
    assert response.get("cache-control") == "private"

    given = {
        "cookie": "mine",
        "ttl": "10m",
        "path": "/a",
        "httponly": False,
        "samesite": "none",
        "secure": True,
    }
    gateway = serve(source(*quartet, sticky=given))
    quartet[0].on("/who", reply(fields=[("Cache-Control", "public, max-age=60"), ("Set-Cookie", "app=1")]))
    for one in quartet[1:]:
        one.on("/who", reply(fields=[("Cache-Control", "public, max-age=60"), ("Set-Cookie", "app=1")]))
    response = gateway.get("/who")
    assert response.all("set-cookie")[0] == "app=1"
    [_, *attributes] = response.all("set-cookie")[1].split("; ")
    assert attributes == ["Max-Age=600", "Path=/a", "SameSite=None", "Secure"]
    assert response.all("cache-control") == ["public, max-age=60", "private"]
    again = gateway.get("/who", [("Cookie", cookie_of(response, "mine") or "")])
    assert again.all("cache-control") == ["public, max-age=60"] and again.all("set-cookie") == ["app=1"]


def test_secure_is_as_the_client_came(serve: Serve, quartet: list[Origin]) -> None:
    gateway = serve({**source(*quartet), "trusted_proxies": ["127.0.0.1"]})
    for proto, secure in (("https", True), ("http", False)):
        [set_cookie] = gateway.get("/who", [("X-Forwarded-Proto", proto)]).all("set-cookie")
        assert set_cookie.endswith("; Secure") == secure, proto


def test_forged_and_foreign_cookies_are_ignored(serve: Serve, quartet: list[Origin]) -> None:
    both = source(*quartet)
    both["upstreams"]["v"] = both["upstreams"]["u"]
    both["routes"] = [{"path": "/v/*", "to": "v"}, {"to": "u"}]
    gateway = serve(both)
    server, cookie = begin(gateway)
    name, _, value = cookie.partition("=")

    def is_taken(told: str, **options: str) -> bool:
        return ask(gateway, told, **options)[1] is None

    assert is_taken(cookie)
    assert is_taken(cookie, host="GATE.test:8080"), "the host is the same"
    assert is_taken(f"a=b; {name}=x; {cookie}"), "the first that is valid counts"
    assert not is_taken(cookie, host="other.test")
    assert not is_taken(cookie, target="/v/who")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for position in range(len(value)):
        # another bit of the character's first five: those of the last one that are not used must be 0 as well
        other = alphabet[alphabet.index(value[position]) ^ 2]
        assert not is_taken(f"{name}={value[:position]}{other}{value[position + 1 :]}"), position
    for text in ("", "x", value[:-1], value + "A", value + "=", value[:40] + "+/=", server, "A" * len(value)):
        assert not is_taken(f"{name}={text}"), text
    assert not is_taken("; ".join([f"{name}={'A' * len(value)}"] * 8 + [cookie])), (
        "no more than eight are tried"
    )


def test_sessions_stay_while_other_servers_come_and_go(serve: Serve, quartet: list[Origin]) -> None:
    gateway = serve(source(quartet[0]), workers=2)
    sessions = [begin(gateway) for _ in range(100)]
    gateway.write(source(quartet[1], quartet[0], quartet[2]))
    assert gateway.ask("reload")["in_place"]
    assert {ask(gateway, cookie) for _, cookie in sessions} == {(quartet[0].address, None)}
    assert {begin(gateway)[0] for _ in range(12)} == {one.address for one in quartet[:3]}
    gateway.write(source(quartet[1], quartet[2]))
    assert gateway.ask("reload")["in_place"]
    server, cookie = ask(gateway, sessions[0][1])
    assert server != quartet[0].address and cookie is not None, "its server is gone"
    assert ask(gateway, cookie) == (server, None)


def test_sessions_stay_over_new_workers_and_an_upgrade(serve: Serve, quartet: list[Origin]) -> None:
    gate = f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
gate.route("/", to=gate.upstream("u", *{[one.address for one in quartet]!r}, balance="sticky"))
"""
    gateway = serve(gate, workers=2)
    sessions = [begin(gateway) for _ in range(8)]
    before = gateway.workers
    gateway.write(gate + "# another version\n")
    assert gateway.ask("reload")["ok"]
    eventually(lambda: not set(before) & set(gateway.workers), "new workers serve")
    assert [ask(gateway, cookie) for _, cookie in sessions] == [(server, None) for server, _ in sessions]
    response = gateway.ask("upgrade")
    assert response["ok"], response
    assert gateway.process.wait(timeout=40) == 0
    try:
        assert [ask(gateway, cookie) for _, cookie in sessions] == [(server, None) for server, _ in sessions]
    finally:
        os.kill(response["pid"], signal.SIGTERM)


def test_a_configured_secret_serves_several_gateways_and_restarts(
    serve: Serve, quartet: list[Origin]
) -> None:
    given = {"secret": "env:STICKY_SECRET"}
    environment = {"STICKY_SECRET": SECRET}
    first = serve(source(*quartet, sticky=given), environment=environment)
    second = serve(source(*reversed(quartet), sticky=given), environment=environment)
    without = serve(source(*quartet))
    sessions = [begin(first) for _ in range(8)]
    assert [ask(second, cookie) for _, cookie in sessions] == [(server, None) for server, _ in sessions]
    assert all(ask(without, cookie)[1] for _, cookie in sessions), "which has a secret of its own"
    first.stop()
    first.start()
    assert [ask(first, cookie) for _, cookie in sessions] == [(server, None) for server, _ in sessions]
    assert SECRET not in first.cli("config", "show", str(first.file)).stdout + first.log()


def test_a_drained_server_keeps_its_sessions_and_one_under_maintenance_loses_them(
    serve: Serve, quartet: list[Origin]
) -> None:
    gateway = serve(source(*quartet[:2]), workers=2)
    cookie = begin_with(gateway, quartet[0])
    assert gateway.cli("server", "u", quartet[0].address, "drain").returncode == 0
    assert {begin(gateway)[0] for _ in range(6)} == {quartet[1].address}
    for _ in range(4):
        assert ask(gateway, cookie) == (quartet[0].address, None)
    assert gateway.cli("reload").returncode == 0
    assert ask(gateway, cookie) == (quartet[0].address, None)
    assert gateway.cli("server", "u", quartet[0].address, "maintenance").returncode == 0
    server, other = ask(gateway, cookie)
    assert server == quartet[1].address and other is not None
    assert gateway.cli("server", "u", quartet[0].address, "ready").returncode == 0
    assert ask(gateway, other) == (quartet[1].address, None), "the session has moved for good"


def test_the_sessions_of_a_drained_server_are_not_renewed(serve: Serve, quartet: list[Origin]) -> None:
    gateway = serve(source(*quartet[:2], sticky={"ttl": "4s"}))
    assert gateway.cli("server", "u", quartet[1].address, "drain").returncode == 0
    _, cookie = begin(gateway)
    assert gateway.cli("server", "u", quartet[1].address, "ready").returncode == 0
    assert gateway.cli("server", "u", quartet[0].address, "drain").returncode == 0

    def has_moved() -> bool:
        server, renewed = ask(gateway, cookie)
        assert renewed is None or server == quartet[1].address
        return server == quartet[1].address

    eventually(has_moved, "the cookie expires, and another server is chosen")


def test_a_server_that_fails_is_left_by_its_sessions(serve: Serve, quartet: list[Origin]) -> None:
    gateway = serve(source(*[f"{one.address} fail_timeout=10m" for one in quartet[:2]]))
    cookie = begin_with(gateway, quartet[0])
    quartet[0].on("/who", lambda call: call.reset())
    server, other = ask(gateway, cookie)
    assert server == quartet[1].address, "it is tried there instead"
    assert other is not None and ask(gateway, other) == (quartet[1].address, None)
    assert ask(gateway, cookie)[0] == quartet[1].address


def test_response_that_is_tried_again_elsewhere_moves_the_session(
    serve: Serve, quartet: list[Origin]
) -> None:
    gateway = serve(source(*quartet[:2], retries={"attempts": 1, "on": [503]}))
    cookie = begin_with(gateway, quartet[0])
    quartet[0].on("/who", reply(status="503 Later"))
    server, other = ask(gateway, cookie)
    assert server == quartet[1].address and other is not None
    assert ask(gateway, other) == (server, None)


def test_a_full_server_is_left_by_its_sessions(serve: Serve, quartet: list[Origin]) -> None:
    gateway = serve(source(*[f"{one.address} max_connections=1" for one in quartet[:2]]))
    cookie = begin_with(gateway, quartet[0])
    quartet[0].on("/hold", hang)
    with RawClient(gateway.address) as held:
        held.send(format_request("GET", "/hold", [("Cookie", cookie)]))
        quartet[0].wait_for("/hold")
        server, other = ask(gateway, cookie)
    assert server == quartet[1].address and other is not None


def test_inner_balance_chooses_the_first_server(serve: Serve, quartet: list[Origin]) -> None:
    gateway = serve(source(*quartet, sticky={"balance": "first"}))
    assert {begin(gateway)[0] for _ in range(8)} == {quartet[0].address}
    on_user = source(*quartet, sticky={"balance": "hash"}, hash_on="header:X-User")
    gateway = serve(on_user)
    with gateway.client() as client:
        users = [
            [client.get("/who", [("X-User", str(user))]).json()["origin"] for _ in range(3)]
            for user in range(30)
        ]
    assert all(len(set(asked)) == 1 for asked in users) and len({asked[0] for asked in users}) == 4


def test_a_choice_of_a_hook_is_the_session(serve: Serve, quartet: list[Origin]) -> None:
    gateway = serve(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
app = gate.upstream("u", *{[one.address for one in quartet]!r}, balance="sticky")
route = gate.route("/", to=app)

@route.balance
def choose(request, upstream):
    if wanted := request.headers.get("x-server"):
        return upstream.servers[int(wanted)]

@route.response
def see(request, response):
    response.headers["x-seen"] = str(len(response.headers.get_all("set-cookie")))
""")
    server, cookie = begin(gateway)
    elsewhere = next(at for at, one in enumerate(quartet) if one.address != server)
    response = gateway.get("/who", [("X-Server", str(elsewhere)), ("Cookie", cookie)])
    assert response.json()["origin"] == quartet[elsewhere].address
    moved = cookie_of(response)
    assert moved is not None and response.get("x-seen") == "1", "response hooks see it"
    assert ask(gateway, moved) == (quartet[elsewhere].address, None)


def test_every_version_of_http_and_upgrades_get_the_cookie(
    serve: Serve, quartet: list[Origin], authority: Authority
) -> None:
    leaf = authority.issue("gate.test")
    gateway = serve(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.route("/", to=gate.upstream("u", *{[one.address for one in quartet]!r}, balance="sticky"))
""")

    def check(server: str, set_cookie: str | None) -> None:
        cookie = (set_cookie or "").partition(";")[0]
        assert cookie and (set_cookie or "").endswith("; Secure")
        # whatever a client speaks, its session is the same; HTTP/2 and 3 may send cookies one by one
        cookies = [("cookie", "a=1"), ("cookie", cookie), ("cookie", "b=2")]
        with TlsClient(gateway.address, authority.client()) as client:
            assert client.get("/who", cookies).json()["origin"] == server
        with Http2Client(gateway.address, tls=authority.client()) as second:
            again = second.get("/who", cookies)
            assert json.loads(again.body)["origin"] == server and again.get("set-cookie") is None
        with Http3Client(gateway.address, authority.ca) as third:
            asked = third.get("/who", cookies)
            assert json.loads(asked.body)["origin"] == server and asked.get("set-cookie") is None

    with TlsClient(gateway.address, authority.client()) as client:
        first = client.get("/who")
        check(first.json()["origin"], first.get("set-cookie"))
    with Http2Client(gateway.address, tls=authority.client()) as second:
        response = second.get("/who")
        check(json.loads(response.body)["origin"], response.get("set-cookie"))
    with Http3Client(gateway.address, authority.ca) as third:
        reply_of_third = third.get("/who")
        check(json.loads(reply_of_third.body)["origin"], reply_of_third.get("set-cookie"))
    for one in quartet:
        one.on("/echo", upgrade_echo)
    with TlsClient(gateway.address, authority.client()) as client:
        client.send(b"GET /echo HTTP/1.1\r\nHost: gate.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        switched = client.response()
        assert (switched.status, switched.get("cache-control")) == (101, None)
        [server] = [one.address for one in quartet if one.at("/echo")]
        check(server, switched.get("set-cookie"))
