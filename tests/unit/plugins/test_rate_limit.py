"""rate-limit: how many pass, whom they are counted for, and what clients are told."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate import ConfigError, Gateway, PluginContext, Request
from headgate.plugins import KeyAuth, RateLimit
from headgate.plugins._clients import client_network
from headgate.plugins._rates import Gcra, Limiter, Rate, SlidingWindow, Verdict, parsed_rate
from headgate.testing import TestGateway, TestResponse


def made(**config: Any) -> RateLimit:
    plugin = RateLimit(**config)
    gate = Gateway()
    plugin._set_up(PluginContext(gate, "limit", gate._parts))
    return plugin


def statuses(plugin: RateLimit, requests: list[dict[str, Any]], *others: Any) -> list[TestResponse]:
    gate = Gateway()
    gate.route("/", respond="in")
    for other in others:
        gate.use(other)
    gate.use(plugin)
    with TestGateway(gate) as gateway:
        return [gateway.get(one.pop("target", "/"), **one) for one in requests]


def codes(responses: list[TestResponse]) -> list[int]:
    return [response.status for response in responses]


def test_as_many_as_the_rate_says_pass_at_once() -> None:
    responses = statuses(RateLimit(rate="3/h"), [{} for _ in range(5)])
    assert codes(responses) == [200, 200, 200, 429, 429]
    assert [response.headers.get("retry-after") for response in responses[:3]] == [None] * 3
    assert 1190 <= int(responses[3].headers["retry-after"]) <= 1200


def test_responses_say_what_is_left() -> None:
    responses = statuses(RateLimit(rate="3/h"), [{} for _ in range(4)])
    assert {response.headers["ratelimit-policy"] for response in responses} == {'"rate-limit";q=3;w=3600'}
    told = [response.headers["ratelimit"] for response in responses]
    assert [one.partition(";t=")[0] for one in told] == [f'"rate-limit";r={left}' for left in (2, 1, 0, 0)]
    assert statuses(RateLimit(rate="3/h", fields=False), [{}])[0].headers.get("ratelimit") is None


def test_a_burst_is_bounded_by_itself() -> None:
    assert codes(statuses(RateLimit(rate="100/h", burst=2), [{} for _ in range(3)])) == [200, 200, 429]


@pytest.mark.parametrize(
    ("by", "same", "other"),
    [
        ("address", {"address": "192.0.2.1"}, {"address": "192.0.2.2"}),
        ("header:x-tenant", {"headers": {"x-tenant": "a"}}, {"headers": {"x-tenant": "b"}}),
        ("consumer", {"headers": {"x-api-key": "k1"}}, {"headers": {"x-api-key": "k2"}}),
        ("{query:q} {method}", {"target": "/?q=1"}, {"target": "/?q=2"}),
        ("{cookie:c}", {"headers": {"cookie": "c=1"}}, {"headers": {"cookie": "c=2"}}),
    ],
)
def test_each_value_has_a_rate_of_its_own(by: str, same: dict[str, Any], other: dict[str, Any]) -> None:
    auth = KeyAuth(keys={"one": "k1", "two": "k2"}, anonymous="nobody")
    responses = statuses(RateLimit(rate="1/h", by=by), [dict(same), dict(same), dict(other)], auth)
    assert codes(responses) == [200, 429, 200]


def test_a_request_without_the_value_counts_by_its_address() -> None:
    one, two = {"address": "192.0.2.1"}, {"address": "192.0.2.2"}
    responses = statuses(RateLimit(rate="1/h", by="header:x-tenant"), [dict(one), dict(one), dict(two)])
    assert codes(responses) == [200, 429, 200]


def test_guessing_keys_has_a_rate_and_consumers_are_known_before_theirs() -> None:
    assert made(rate="1/h").order < KeyAuth.order < made(rate="1/h", by="{consumer} {path}").order
    responses = statuses(RateLimit(rate="1/h"), [{} for _ in range(2)], KeyAuth(keys={"a": "k"}))
    assert codes(responses) == [401, 429]


def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    assert {client_network(f"2001:db8:0:1::{n:x}") for n in range(1000)} == {"2001:db8:0:1::/64"}
    assert client_network("2001:db8:0:2::1") != client_network("2001:db8:0:1::1")
    assert client_network("2001:db8:0:1::1", ipv6_prefix=48) == client_network(
        "2001:db8:0:2::1", ipv6_prefix=48
    )


@pytest.mark.parametrize(
    "address", ["::ffff:192.0.2.1", "64:ff9b::192.0.2.1", "2002:c000:201::1", "192.0.2.1"]
)
def test_an_ipv4_address_inside_an_ipv6_one_counts_by_that(address: str) -> None:
    assert client_network(address) == "192.0.2.1/32"
    assert client_network(address, ipv4_prefix=24) == "192.0.2.0/24"


def test_what_is_no_address_stays_itself() -> None:
    assert client_network("unix:") == "unix:"
    assert client_network("fe80::1%eth0") == "fe80::/64"


def limiter(kind: str, rate: Rate, size: str = "8m") -> Limiter:
    gate = Gateway()
    tables = gate.shared("clients", size), gate.shared("refused", size)
    return SlidingWindow(rate, *tables) if kind == "sliding-window" else Gcra(rate, *tables)


def exhausted(limiter: Limiter, key: bytes, now: float) -> Verdict:
    while (verdict := limiter.decide(key, now))[0] == 0:
        pass
    return verdict


@pytest.mark.parametrize("kind", ["token-bucket", "sliding-window"])
@given(
    limit=st.integers(1, 1000),
    window=st.integers(1, 100_000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 50), max_size=30),
)
@settings(max_examples=100, deadline=None)
def test_whoever_waits_as_long_as_he_is_told_passes(
    kind: str, limit: int, window: int, burst: int, gaps: list[float]
) -> None:
    rate = Rate(min(limit, 60) if kind == "sliding-window" else limit, float(window), burst)
    limits, now = limiter(kind, rate), 1000.0
    for gap in gaps:
        now += gap * rate.step / 10
        limits.decide(b"key", now)
    told = max(1, math.ceil(exhausted(limits, b"key", now)[0]))
    assert told >= 1
    assert limits.decide(b"key", now + told)[0] == 0


@given(st.integers(1, 20), st.lists(st.floats(0, 3), min_size=1, max_size=120))
@settings(max_examples=100, deadline=None)
def test_a_sliding_window_lets_in_no_more_than_its_estimate(limit: int, gaps: list[float]) -> None:
    limits, now, passed = limiter("sliding-window", Rate(limit, 10.0, limit)), 1000.0, []
    for gap in gaps:
        now += gap
        if limits.decide(b"key", now)[0] == 0:
            passed.append(now)
    for moment in passed:
        inside = [one for one in passed if moment <= one < moment + 10 - 1e-6]
        assert len(inside) <= 2 * limit  # the estimate's own bound; a window of the clock holds `limit`
    for start in range(1000, 1400, 10):
        assert sum(start <= one < start + 10 for one in passed) <= limit


@pytest.mark.parametrize("kind", ["token-bucket", "sliding-window"])
def test_an_offender_stays_limited_while_the_table_is_flooded(kind: str) -> None:
    limits: Any = limiter(kind, Rate(5, 3600.0, 5), "64k")
    exhausted(limits, b"offender", 1000.0)
    for number in range(5000):
        limits.decide(b"%016d" % number, 1000.0)
    assert limits.clients.evictions > 0
    assert limits.decide(b"offender", 1000.0)[0] > 0


def test_each_of_several_rates_holds_and_a_refusal_costs_the_others_nothing() -> None:
    plugin = made(rate=["5/h", "2/s"])
    assert [plugin._decide(b"k", 1000.0)[-1][0] > 0 for _ in range(4)] == [False, False, True, True]
    told = [plugin._decide(b"k", moment)[-1] for moment in (1010.0, 1010.0, 1020.0, 1020.0)]
    assert [one[0] > 0 for one in told] == [False, False, False, True]
    response = statuses(RateLimit(rate=["5/h", "2/s"]), [{}])[0]
    assert response.headers["ratelimit-policy"] == '"rate-limit";q=5;w=3600, "rate-limit-2";q=2;w=1'
    assert response.headers["ratelimit"] == '"rate-limit";r=4;t=720, "rate-limit-2";r=1;t=1'


def test_a_leaky_bucket_lets_requests_out_one_by_one() -> None:
    plugin = made(rate="10/s", algorithm="leaky-bucket", delay=0.25)
    verdicts = [plugin._decide(b"k", 1000.0)[0] for _ in range(5)]
    assert [round(one[3], 3) for one in verdicts[:3]] == [0.0, 0.1, 0.2]
    assert [one[0] > 0 for one in verdicts] == [False, False, False, True, True]
    assert (
        codes(statuses(RateLimit(rate="20/s", algorithm="leaky-bucket"), [{} for _ in range(3)])) == [200] * 3
    )


def test_an_expression_says_who_is_counted() -> None:
    by = '=request.headers["x-tenant"].lowerAscii()'
    asked = [{"headers": {"x-tenant": name}} for name in ("A", "a", "b")]
    assert codes(statuses(RateLimit(rate="1/h", by=by), asked)) == [200, 429, 200]
    with pytest.raises(ConfigError, match="gives a truth, not a text"):
        RateLimit(rate="1/h", by='=request.path == "/"')
    with pytest.raises(ConfigError, match="did you mean `path`"):
        RateLimit(rate="1/h", by="=request.pth")


def test_a_leaky_bucket_has_no_burst() -> None:
    with pytest.raises(ConfigError, match="remove `burst`"):
        RateLimit(rate="1/s", algorithm="leaky-bucket", burst=2)


def test_two_uses_have_tables_of_their_own() -> None:
    strict, loose = RateLimit(rate="1/h"), RateLimit(rate="5/h")
    responses = statuses(loose, [{} for _ in range(2)], strict)
    assert codes(responses) == [200, 429]
    assert len(responses[0].headers.get_all("ratelimit")) == 2


@pytest.mark.parametrize("rate", ["", "10", "10/", "0/s", "10/0s", "10/fortnight", "-1/s", "1.5/s"])
def test_what_is_no_rate_is_refused(rate: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid rate"):
        RateLimit(rate=rate)


def test_rates() -> None:
    assert parsed_rate("10/s") == (10, 1.0)
    assert parsed_rate(" 1000 / 24h ") == (1000, 86400.0)


@pytest.mark.parametrize("by", ["adress", "header", "header:", "{x}", "{address} {nothing}"])
def test_an_unknown_part_is_refused(by: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid part of `by`"):
        RateLimit(rate="1/s", by=by)


def test_subrequests_count_for_the_client_that_caused_them() -> None:
    gate = Gateway()
    gate.route("/inner", respond="in")
    gate.use(RateLimit(rate="2/h"), on="/inner")

    @gate.route("/outer")
    async def outer(request: Request) -> Any:
        statuses = [(await request.fetch("/inner")).status for _ in range(3)]
        from headgate import Response

        return Response.json(statuses)

    with TestGateway(gate) as gateway:
        assert gateway.get("/outer").json() == [200, 200, 429]
