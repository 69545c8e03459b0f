"""Plugins that keep somebody out: who gets in, who does not, and what spelling leads around them."""

import random
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

import headgate.plugins as built_in
from headgate import ConfigError, Gateway, Plugin, Request, Response
from headgate.plugins import (
    BotDetection,
    Csrf,
    Honeypot,
    IpRestriction,
    KeyAuth,
    RefererRestriction,
    ReplayProtection,
    SecurityHeaders,
    SignedUrls,
    UaRestriction,
    UriBlocker,
)
from headgate.plugins._networks import NetworkFile, Networks
from headgate.plugins.signed_urls import signature
from headgate.testing import Fault, TestGateway

SERVER = "server.test:80"
SECRET = "a secret of thirty-two characters"


def gate_with(*plugins: Plugin, **use: Any) -> Gateway:
    gate = Gateway()
    gate.route("/", to=SERVER)
    for plugin in plugins:
        gate.use(plugin, **use)
    return gate


def statuses(plugin: Plugin, asked: list[dict[str, Any]]) -> list[int]:
    with TestGateway(gate_with(plugin), upstreams={SERVER: "ok"}) as gateway:
        return [
            gateway.request(one.pop("method", "GET"), one.pop("target", "/"), **one).status for one in asked
        ]


# ---- addresses


def test_a_hundred_thousand_networks_are_looked_through_as_one_would() -> None:
    import ipaddress

    chance = random.Random(7)
    texts = [
        f"{ipaddress.IPv4Address(chance.getrandbits(32))}/{chance.randint(20, 32)}" for _ in range(99_000)
    ] + [f"{ipaddress.IPv6Address(chance.getrandbits(128))}/{chance.randint(32, 128)}" for _ in range(1000)]
    networks = Networks(texts)
    parsed = [ipaddress.ip_network(text, strict=False) for text in texts[:300]]
    for network in parsed:
        assert str(network[0]) in networks and str(network[-1]) in networks
    few = Networks(texts[:300])
    for _ in range(2000):
        address = ipaddress.IPv4Address(chance.getrandbits(32))
        assert (str(address) in few) == any(address in network for network in parsed)
        assert (f"::ffff:{address}" in few) == (str(address) in few)
    assert "unix:" not in networks and "" not in networks


@pytest.mark.parametrize(
    ("settings", "address", "status"),
    [
        ({"deny": ["192.0.2.0/24"]}, "192.0.2.7", 403),
        ({"deny": ["192.0.2.0/24"]}, "::ffff:192.0.2.7", 403),
        ({"deny": ["192.0.2.0/24"]}, "64:ff9b::192.0.2.7", 403),
        ({"deny": ["192.0.2.0/24"]}, "192.0.3.7", 200),
        ({"allow": ["10.0.0.0/8", "2001:db8::/32"]}, "2001:db8::5", 200),
        ({"allow": ["10.0.0.0/8", "2001:db8::/32"]}, "2001:db9::5", 403),
        ({"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"]}, "10.1.0.1", 403),
        ({"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"], "status": 451}, "9.1.0.1", 451),
    ],
)
def test_addresses_decide(settings: dict[str, Any], address: str, status: int) -> None:
    assert statuses(IpRestriction(**settings), [{"address": address}]) == [status]


def test_a_file_of_networks_is_read_again_and_kept_when_it_breaks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "deny"
    file.write_text("# nobody yet\n\n")
    plugin = IpRestriction(deny_file=str(file))
    with TestGateway(gate_with(plugin), upstreams={SERVER: "ok"}) as gateway:
        assert gateway.get("/", address="192.0.2.1").status == 200
        file.write_text("192.0.2.0/24 # a comment\n")
        plugin._reread()
        assert gateway.get("/", address="192.0.2.1").status == 403
        for broken in ("not a network\n", None):
            file.unlink() if broken is None else file.write_text(broken)
            plugin._reread()
            plugin._reread()
            assert gateway.get("/", address="192.0.2.1").status == 403
        file.write_text("198.51.100.0/24\n")
        plugin._reread()
        assert gateway.get("/", address="192.0.2.1").status == 200
        assert plugin._headgate_context is not None
        assert plugin._headgate_context.counter("file_failures").value == 4
    assert [record.levelname for record in caplog.records if "read" in record.message] == ["ERROR", "WARNING"]
    file.write_text("192.0.2.0/24\nnonsense\n")
    with pytest.raises(ConfigError, match=rf"{file}:2: `nonsense` is not a valid network"):
        NetworkFile(str(file))


def test_a_subrequest_is_of_the_client_that_caused_it() -> None:
    gate = gate_with(IpRestriction(deny=["192.0.2.0/24"]), on="/inner")

    @gate.route("/batch")
    async def batch(request: Request) -> Response:
        inner = await request.fetch(
            "/inner", headers={"x-real-ip": "10.0.0.1", "x-forwarded-for": "10.0.0.1"}
        )
        return Response(inner.status)

    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        assert gateway.get("/batch", address="192.0.2.7").status == 403


COUNTRIES = str(Path(__file__).parent / "vectors" / "countries.mmdb")
"""A MaxMind database: 192.0.2.0/25 and 2001:db8:1::/48 are DE, 192.0.2.128/26 is registered in FR."""


@pytest.mark.parametrize(
    ("address", "allowed", "not_denied"),
    [
        ("192.0.2.1", 200, 200),
        ("::ffff:192.0.2.1", 200, 200),
        ("64:ff9b::192.0.2.129", 403, 403),
        ("2002:c000:281::1", 403, 403),  # 192.0.2.129 by 6to4
        ("2001:db8:1::7", 200, 200),
        ("2001:db8:1::7%eth0", 200, 200),
        ("192.0.2.129", 403, 403),
        ("198.51.100.1", 403, 200),  # known, but of no country
        ("203.0.113.1", 403, 200),
        ("unix:", 403, 200),
    ],
)
def test_countries_come_from_a_file(address: str, allowed: int, not_denied: int) -> None:
    allow = IpRestriction(geoip=COUNTRIES, allow_countries=["de"])
    assert statuses(allow, [{"address": address}]) == [allowed]
    deny = IpRestriction(geoip=COUNTRIES, deny_countries=["FR"])
    assert statuses(deny, [{"address": address}]) == [not_denied]


def test_another_file_of_countries_counts_and_a_broken_one_does_not(tmp_path: Path) -> None:
    file = tmp_path / "countries.mmdb"
    shutil.copy(COUNTRIES, file)
    plugin = IpRestriction(geoip=str(file), deny_countries=["FR"])
    with TestGateway(gate_with(plugin), upstreams={SERVER: "ok"}) as gateway:
        assert gateway.get("/", address="192.0.2.129").status == 403
        file.write_bytes(b"nonsense")
        plugin._reread()
        assert gateway.get("/", address="192.0.2.129").status == 403
        file.write_bytes(Path(COUNTRIES).read_bytes().replace(b"FR", b"DE"))
        plugin._reread()
        assert gateway.get("/", address="192.0.2.129").status == 200


def test_what_is_no_database_of_countries_is_refused(tmp_path: Path) -> None:
    whole = Path(COUNTRIES).read_bytes()
    for number, data in enumerate((b"", b"nonsense", whole[:-200])):
        file = tmp_path / f"{number}.mmdb"
        file.write_bytes(data)
        with pytest.raises(ConfigError, match="is not a MaxMind database"):
            gate_with(IpRestriction(geoip=str(file), deny_countries=["FR"]))


# ---- agents, referers, targets


@pytest.mark.parametrize(
    ("settings", "agent", "status"),
    [
        ({"deny": ["curl"]}, "Curl/8", 403),
        ({"deny": ["~^bot/[0-9]+$"]}, "Bot/12", 403),
        ({"deny": ["~^bot/[0-9]+$"]}, "a Bot/12", 200),
        ({"deny": ["bot"], "allow": ["goodbot"]}, "GoodBot", 200),
        ({"allow": ["app/"]}, "other", 403),
        ({"deny": ["x"]}, None, 200),
        ({"deny": ["x"], "missing": False}, None, 403),
        ({"deny": [r"~(a+)+$"]}, "a" * 7000 + "b", 200),
    ],
)
def test_agents_decide(settings: dict[str, Any], agent: str | None, status: int) -> None:
    headers = {} if agent is None else {"user-agent": agent}
    assert statuses(UaRestriction(**settings), [{"headers": headers}]) == [status]


@pytest.mark.parametrize(
    ("referer", "status"),
    [
        ("https://example.com/x", 200),
        ("https://sub.example.com./x", 200),
        ("https://EXAMPLE.com:8443", 200),
        ("https://evil-example.com/", 403),
        ("https://example.com.evil.example/", 403),
        ("https://user@evil.example/?example.com", 403),
        ("https://example.com@evil.example/", 403),
        ("//example.com", 200),
        ("http://[::1", 200),
        (None, 200),
    ],
)
def test_whole_host_labels_decide(referer: str | None, status: int) -> None:
    plugin = RefererRestriction(allow=["example.com", "*.example.com"])
    assert statuses(plugin, [{"headers": {"referer": referer} if referer else {}}]) == [status]


@pytest.mark.parametrize(
    "target",
    ["/wp-admin", "/x/WP-Admin/y", "/wp%2Dadmin", "/wp%252dadmin", "/?next=/wp-admin", "/a/../wp-admin"],
)
def test_no_spelling_leads_around_a_blocked_target(target: str) -> None:
    assert statuses(UriBlocker(block=["/wp-admin"]), [{"target": target}, {"target": "/wp"}]) in (
        [403, 200],
        [400, 200],
    )


def test_who_asks_for_a_trap_is_kept_out_everywhere() -> None:
    plugin = Honeypot(traps=["/.env"])
    asked = [
        {"target": "/", "address": "2001:db8::1"},
        {"target": "/.%65nv", "address": "2001:db8::1"},
        {"target": "/", "address": "2001:db8::2"},
        {"target": "/", "address": "2001:db9::1"},
    ]
    assert statuses(plugin, asked) == [200, 404, 404, 200]


class Names:
    """A resolver."""

    known = {
        "66.249.66.1": "crawl-1.googlebot.com",
        "192.0.2.1": "crawl.googlebot.com.evil.example",
        "192.0.2.2": "fake.googlebot.com",
    }

    def name_of(self, address: str) -> str | None:
        if address == "192.0.2.9":
            raise OSError("no name server")
        return self.known.get(address)

    def addresses_of(self, name: str) -> list[str]:
        return ["66.249.66.1"] if name == "crawl-1.googlebot.com" else ["192.0.2.77"]


@pytest.mark.parametrize(
    ("address", "status", "told"),
    [
        ("66.249.66.1", 200, "Googlebot"),
        ("192.0.2.1", 403, None),
        ("192.0.2.2", 403, None),
        ("192.0.2.3", 403, None),
        ("192.0.2.9", 200, None),
    ],
)
def test_a_crawler_is_who_its_names_say(address: str, status: int, told: str | None) -> None:
    plugin = BotDetection()
    gate = gate_with(plugin)
    plugin._resolver = Names()
    headers = {"user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1)", "X_Verified_Bot": "Bingbot"}
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        assert [gateway.get("/", headers, address=address).status for _ in range(2)] == [status] * 2
        if status == 200:
            assert gateway.received[0].headers.get("x-verified-bot") == told
        assert gateway.get("/", {"user-agent": "a browser"}, address=address).status == 200


# ---- what browsers are told


def test_browsers_are_told_on_every_response() -> None:
    server = Response(
        200, headers={"server": "old/1.0", "x-powered-by": "php", "x-frame-options": "ALLOWALL"}
    )
    with TestGateway(gate_with(SecurityHeaders()), upstreams={SERVER: server}) as gateway:
        response = gateway.get("/", scheme="https")
        assert response.headers["strict-transport-security"] == "max-age=31536000"
        assert response.headers.get_all("x-frame-options") == ["SAMEORIGIN"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "x-powered-by" not in response.headers and response.headers.get("server") != "old/1.0"
        assert "strict-transport-security" not in gateway.get("/").headers
    with TestGateway(
        gate_with(SecurityHeaders(), KeyAuth(keys={"a": "k"})), upstreams={SERVER: Fault.REFUSE}
    ) as gateway:
        for headers, status in (({}, 401), ({"x-api-key": "k"}, 502)):
            response = gateway.get("/", headers)
            assert (response.status, response.headers["x-content-type-options"]) == (status, "nosniff")


def test_each_request_has_a_nonce_of_its_own_that_no_cache_keeps() -> None:
    plugin = SecurityHeaders(content_security_policy="script-src 'nonce-{nonce}'")
    server = Response(200, headers={"cache-control": "public, max-age=60"})
    with TestGateway(gate_with(plugin), upstreams={SERVER: server}) as gateway:
        responses = [gateway.get("/", {"X-CSP-Nonce": "chosen"}) for _ in range(2)]
        told = [received.headers["x-csp-nonce"] for received in gateway.received]
    policies = [response.headers["content-security-policy"] for response in responses]
    assert policies == [f"script-src 'nonce-{nonce}'" for nonce in told]
    assert len({*told, "chosen"}) == 3 and all(len(nonce) >= 22 for nonce in told)
    assert [response.headers["cache-control"] for response in responses] == ["no-store"] * 2


# ---- csrf


def csrf_gate(**more: Any) -> Gateway:
    return gate_with(Csrf(secret=SECRET, session_cookie="session", cookie="csrf", **more))


def token_of(gateway: TestGateway, session: str) -> str:
    found = re.match(
        r"csrf=([^;]+);", gateway.get("/", {"cookie": f"session={session}"}).headers["set-cookie"]
    )
    assert found
    return found[1]


def test_a_token_is_worth_something_in_its_session_only() -> None:
    with TestGateway(csrf_gate(), upstreams={SERVER: "ok"}) as gateway:
        a, b = token_of(gateway, "A"), token_of(gateway, "B")

        def post(session: str, cookie: str, header: str | None, **more: str) -> int:
            headers = {"cookie": f"session={session}; csrf={cookie}", "host": "site.example", **more}
            return gateway.post("/", "x", headers | ({"x-csrf-token": header} if header else {})).status

        assert post("A", a, a) == 200
        assert post("A", b, b) == 403  # planted from a sibling domain
        assert post("B", a, a) == 403
        assert [post("A", a, b), post("A", a, None), post("A", "", ""), post("", a, a)] == [403] * 4
        broken = a[:-1] + ("0" if a[-1] != "0" else "1")
        assert [post("A", broken, broken), post("A", "x.y.z", "x.y.z")] == [403] * 2
        origins = {
            "http://site.example": 200,
            "https://site.example": 403,
            "http://site.example:81": 403,
            "null": 403,
        }
        assert {one: post("A", a, a, origin=one) for one in origins} == origins
        sites = {"same-origin": 200, "none": 200, "same-site": 403, "cross-site": 403}
        assert {one: post("A", a, a, **{"sec-fetch-site": one}) for one in sites} == sites


def test_a_token_is_given_once_and_holds_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    with TestGateway(csrf_gate(max_age=100), upstreams={SERVER: "ok"}) as gateway:
        token = token_of(gateway, "A")
        headers = {"cookie": f"session=A; csrf={token}", "x-csrf-token": token}
        assert "set-cookie" not in gateway.get("/", headers).headers
        assert "set-cookie" not in gateway.get("/").headers
        now = time.time()
        monkeypatch.setattr("headgate.plugins.csrf.time.time", lambda: now + 60)
        assert "set-cookie" in gateway.get("/", headers).headers
        assert gateway.post("/", "x", headers).status == 200
        monkeypatch.setattr("headgate.plugins.csrf.time.time", lambda: now + 102)
        assert gateway.post("/", "x", headers).status == 403


# ---- signatures and replays


def signed(target: str, *, key: str = SECRET, method: str = "GET", seconds: float = 60) -> str:
    mark = "&" if "?" in target else "?"
    told = f"{target}{mark}expires={int(time.time() + seconds)}"
    return f"{told}&signature={signature(key.encode(), method, told)}"


def test_a_signed_url_holds_as_it_is_and_for_its_time() -> None:
    good = signed("/a%20b?x=1&y=%2F")
    plugin = SignedUrls(keys=["another key of many characters", SECRET], longest=3600)
    with TestGateway(gate_with(plugin), upstreams={SERVER: "ok"}) as gateway:
        assert gateway.get(good).status == 200 and gateway.request("HEAD", good).status == 200
        assert [one.target for one in gateway.received] == ["/a%20b?x=1&y=%2F"] * 2
        wrong = [
            "/a%20b?x=1&y=%2F",
            good.replace("x=1", "x=2"),
            good.replace("/a", "/b"),
            good.replace("expires=", "expires=1"),
            good.replace("x=1", "x=1&expires=9999999999"),
            good.replace("x=1", "x=1;expires=9999999999"),
            good + "&z=1",
            good[:-1],
            good + "&signature=" + good[-64:],
            signed("/x", key="a key that nobody has told of"),
            signed("/x", seconds=-2),
            signed("/x", seconds=7200),
            signed("/x", method="POST"),
            "/&signature=x?",
            "/?signature=\u00e9".encode().decode("latin-1").encode("ascii", "ignore").decode(),
        ]
        assert {one: gateway.get(one).status for one in wrong} == dict.fromkeys(wrong, 403)


def test_a_request_comes_once() -> None:
    now = str(int(time.time()))
    plugin = ReplayProtection(skew=60)

    def asked(nonce: str, moment: str = now, **more: Any) -> dict[str, Any]:
        return {"headers": [("x-nonce", nonce), ("x-timestamp", moment)], **more}

    assert statuses(plugin, [asked("nonce-one"), asked("nonce-one"), asked("nonce-two")]) == [200, 403, 200]
    one, _ = plugin._seen.keys()
    kept = plugin._seen.ttl(one)
    assert (
        kept is not None and 120 < kept <= 121
    )  # a time of the future counts for that long, to its last moment
    late, early = str(int(now) - 62), str(int(now) + 65)
    wrong = [
        asked("n" * 9, late),
        asked("n" * 9, early),
        asked("short"),
        asked("n" * 201),
        asked("n" * 9, "now"),
        {},
    ]
    assert statuses(ReplayProtection(skew=60), wrong) == [403] * len(wrong)
    twice = {"headers": [("x-nonce", "nonce-a-1"), ("x-nonce", "nonce-a-2"), ("x-timestamp", now)]}
    assert statuses(ReplayProtection(skew=60), [twice]) == [403]


def test_a_flood_of_nonces_never_makes_one_count_again() -> None:
    plugin = ReplayProtection(memory="64k")
    now = str(int(time.time()))
    with TestGateway(gate_with(plugin), upstreams={SERVER: "ok"}) as gateway:

        def ask(nonce: str) -> int:
            return gateway.get("/", {"x-nonce": nonce, "x-timestamp": now}).status

        assert ask("the-first-nonce") == 200
        found = [ask(f"flood-{number:05}") for number in range(1500)]
        assert found[0] == 200 and found[-1] == 503
        assert plugin._seen.evictions == 0
        assert ask("the-first-nonce") in (403, 503)


# ---- settings


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("IpRestriction", {}, "`allow` and `deny` are both empty"),
        ("IpRestriction", {"deny": ["10.0.0.0/99"]}, "is not a valid network"),
        ("IpRestriction", {"allow_countries": ["DE"]}, "set `geoip` to its path"),
        ("UaRestriction", {"deny": ["~(?!a)"]}, "is not a valid pattern"),
        ("UriBlocker", {"block": []}, "is empty"),
        ("RefererRestriction", {"allow": ["https://example.com"]}, "is not a valid host"),
        ("SecurityHeaders", {"hsts": {"preload": True}}, "`preload` requires"),
        ("SecurityHeaders", {"hsts": {"maxage": 1}}, "did you mean `max_age`"),
        ("Csrf", {"secret": "short", "session_cookie": "s"}, "the secret is too short"),
        ("SignedUrls", {"keys": ["short"]}, "a key is too short"),
    ],
)
def test_wrong_settings_are_refused_with_a_hint(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        getattr(built_in, name)(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"deny_file": "/nowhere"}, "cannot be read"), ({"geoip": "/nowhere"}, "is not a MaxMind database")],
)
def test_files_that_are_not_there_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gate_with(IpRestriction(**settings))
