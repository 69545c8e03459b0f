"""rate-limit: how many pass, whom they are counted for, and what clients are told."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate import ConfigError, Gateway, PluginContext, Request
from headgate.plugins import KeyAuth, RateLimit
from headgate.plugins.rate_limit import client_network, parsed_rate
from headgate.testing import TestGateway, TestResponse


def made(**config: Any) -> RateLimit:
    plugin = RateLimit(**config)
    plugin._set_up(PluginContext(Gateway(), "limit", lambda name: None))
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


@given(
    limit=st.integers(1, 1000),
    window=st.integers(1, 100_000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 50), max_size=30),
)
@settings(max_examples=150, deadline=None)
def test_whoever_waits_as_long_as_he_is_told_passes(
    limit: int, window: int, burst: int, gaps: list[float]
) -> None:
    plugin = made(rate=f"{limit}/{window}s", burst=burst)
    now = 1000.0
    for gap in gaps:
        now += gap * plugin._step / 10
        plugin._decide(b"key", now)
    while (verdict := plugin._decide(b"key", now)).wait_s == 0:
        pass
    from math import ceil

    told = max(1, ceil(verdict.wait_s))
    assert told >= 1
    assert plugin._decide(b"key", now + told).wait_s == 0


def test_an_offender_stays_limited_while_the_table_is_flooded() -> None:
    plugin = made(rate="5/h", memory="64k")
    while plugin._decide(b"offender", 1000.0).wait_s == 0:
        pass
    for number in range(5000):
        plugin._decide(b"%016d" % number, 1000.0)
    assert plugin._clients.evictions > 0
    assert plugin._decide(b"offender", 1000.0).wait_s > 0


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
