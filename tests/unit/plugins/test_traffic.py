"""Plugins that bound and steer traffic: what passes, what is told to the rest, and what is refused at load."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headgate.plugins as built_in
from headgate import ConfigError, Gateway, Response
from headgate.plugins import (
    CircuitBreaker,
    FaultInjection,
    Maintenance,
    Mirror,
    Quota,
    RequestSize,
    ResponseSize,
    TrafficSplit,
)
from headgate.plugins.quota import period_of
from headgate.testing import Fault, Received, TestGateway

SERVER = "server.test:80"


def gate_with(*plugins: Any, **use: Any) -> Gateway:
    gate = Gateway()
    gate.route("/", to=SERVER)
    for plugin in plugins:
        gate.use(plugin, **use)
    return gate


# ---- quota


def test_a_quota_is_used_up_and_says_when_it_begins_anew() -> None:
    gate = gate_with(Quota(amount=2, period="day", by="address"))
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        responses = [gateway.get("/") for _ in range(4)]
        other = gateway.get("/", address="192.0.2.1")
    assert [one.status for one in responses] == [200, 200, 429, 429] and other.status == 200
    assert 1 <= int(responses[2].headers["retry-after"]) <= 86400
    told = [one.headers["ratelimit"].partition(";t=")[0] for one in responses]
    assert told == ['"quota";r=1', '"quota";r=0', '"quota";r=0', '"quota";r=0']
    assert responses[0].headers["ratelimit-policy"] == '"quota";q=2;w=86400'


@given(
    st.sampled_from(["hour", "day", "week", "month", "year"]),
    st.floats(0, 4e9),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia"]),
)
def test_periods_follow_each_other_without_a_gap(period: Any, now: float, zone: str) -> None:
    begin, end = period_of(now, period, ZoneInfo(zone))
    assert begin <= now < end
    assert period_of(end, period, ZoneInfo(zone))[0] == end


@pytest.mark.parametrize("period", ["day", "week", "month", "year"])
def test_the_day_that_most_years_do_not_have_is_a_day(period: Any) -> None:
    now = datetime(2044, 2, 29, 12, tzinfo=UTC).timestamp()  # a Monday: its week begins on it
    begin, end = (datetime.fromtimestamp(one, UTC) for one in period_of(now, period, ZoneInfo("UTC")))
    assert begin.timestamp() <= now < end.timestamp()
    assert (end - begin).days == {"day": 1, "week": 7, "month": 29, "year": 366}[period]


def test_a_month_begins_where_its_clock_says() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    now = datetime(2026, 3, 31, 23, 30, tzinfo=berlin).timestamp()
    begin, end = (datetime.fromtimestamp(one, berlin) for one in period_of(now, "month", berlin))
    assert (begin.month, begin.day, begin.hour, end.month, end.day, end.hour) == (3, 1, 0, 4, 1, 0)


def test_a_quota_outlives_a_restart_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "quota.json"
    for expected in ([200, 200], [200, 429]):
        plugin = Quota(amount=3, period="year", by="address", file=str(file))
        with TestGateway(gate_with(plugin), upstreams={SERVER: "ok"}) as gateway:
            assert [gateway.get("/").status for _ in range(2)] == expected
            plugin._write()
    assert [used for used, _ in json.loads(file.read_text()).values()] == [3]
    file.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        gate_with(Quota(amount=3, period="year", file=str(file)))


# ---- sizes


@pytest.mark.parametrize(
    ("settings", "request_", "status"),
    [
        ({"target": 10}, {"target": "/123456789"}, 200),
        ({"target": 10}, {"target": "/1234567890"}, 414),
        ({"query_params": 2}, {"target": "/?a&b"}, 200),
        ({"query_params": 2}, {"target": "/?a&b&c"}, 414),
        ({"query_params": 0}, {"target": "/?a"}, 414),
        ({"header_fields": 5}, {"headers": [("x", str(n)) for n in range(20)]}, 431),
        ({"header_bytes": 200}, {"headers": {"x": "y" * 300}}, 431),
        ({"header_bytes": 2000}, {"headers": {"x": "y" * 300}}, 200),
        ({"body": 3}, {"method": "POST", "body": "123"}, 200),
        ({"body": 3}, {"method": "POST", "body": "1234"}, 413),
    ],
)
def test_what_is_too_large_is_refused(
    settings: dict[str, Any], request_: dict[str, Any], status: int
) -> None:
    with TestGateway(gate_with(RequestSize(**settings)), upstreams={SERVER: "ok"}) as gateway:
        response = gateway.request(request_.pop("method", "GET"), request_.pop("target", "/"), **request_)
        assert response.status == status
        assert len(gateway.received) == (status == 200)


@pytest.mark.parametrize("path", ["/request", "/response"])
def test_two_uses_each_count_for_themselves(path: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"1234"

    gate = Gateway()
    gate.route("/", to=SERVER)
    for n, most in enumerate((5, 100)):
        gate.use(RequestSize(body=most), name=f"request{n}")
        gate.use(ResponseSize(body=most), name=f"response{n}")
    with TestGateway(gate, upstreams={SERVER: lambda received: Response.stream(pieces())}) as gateway:
        response = gateway.post(path, "1234") if path == "/request" else gateway.get(path)
        assert (response.status, response.text) == (200, "1234")


async def _exchange(gateway: TestGateway, data: bytes) -> bytes:
    reader, writer = await gateway.connect()
    writer.write(data)
    try:
        return await reader.read()
    finally:
        writer.close()


def test_a_body_without_a_length_counts_as_it_comes() -> None:
    with TestGateway(gate_with(RequestSize(body=5)), upstreams={SERVER: "ok"}) as gateway:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        small = gateway.run(_exchange(gateway, head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
        large = gateway.run(_exchange(gateway, head + b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"))
        assert small.startswith(b"HTTP/1.1 200") and large.startswith(b"HTTP/1.1 413")
    with TestGateway(gate_with(RequestSize(require_length=True)), upstreams={SERVER: "ok"}) as gateway:
        assert gateway.run(_exchange(gateway, head + b"0\r\n\r\n")).startswith(b"HTTP/1.1 411")


def test_a_response_that_is_too_large_is_a_502_or_never_looks_complete() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"12345"

    def server(received: Received) -> Response:
        return Response.stream(pieces()) if received.path == "/stream" else Response(200, b"x" * 20)

    with TestGateway(gate_with(ResponseSize(body=10)), upstreams={SERVER: server}) as gateway:
        assert gateway.get("/whole").status == 502
        head = b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        data = gateway.run(_exchange(gateway, b"GET /stream" + head))
        assert b"HTTP/1.1 502" in data or b"HTTP/1.1 500" in data or not data.endswith(b"0\r\n\r\n")
        assert data.count(b"12345") < 4
    with TestGateway(gate_with(ResponseSize(body=20)), upstreams={SERVER: server}) as gateway:
        assert [gateway.get(path).text for path in ("/whole", "/stream")] == ["x" * 20, "12345" * 4]


# ---- maintenance, faults


def test_a_closed_site_is_open_for_those_who_maintain_it(tmp_path: Path) -> None:
    plugin = Maintenance(file=str(tmp_path / "closed"), allow=["10.0.0.0/8"], retry_after=60)
    with TestGateway(gate_with(plugin), upstreams={SERVER: "ok"}) as gateway:
        assert gateway.get("/").status == 200
        (tmp_path / "closed").touch()
        gateway.advance(1.1)
        gateway.until(lambda: plugin._is_closed)
        closed = gateway.get("/")
        assert (closed.status, closed.headers["retry-after"], closed.text) == (503, "60", "back soon\n")
        assert closed.headers["cache-control"] == "no-store"
        assert gateway.get("/", address="10.1.2.3").status == 200
        assert gateway.get("/", address="::ffff:10.1.2.3").status == 200
    with TestGateway(gate_with(Maintenance(enabled=False)), upstreams={SERVER: "ok"}) as gateway:
        assert gateway.get("/").status == 200


def test_faults_hit_the_part_that_is_asked_for() -> None:
    plugin = FaultInjection(abort={"status": 418, "percent": 30}, seed=1)
    with TestGateway(gate_with(plugin), upstreams={SERVER: "ok"}) as gateway:
        hit = sum(gateway.get("/").status == 418 for _ in range(200))
    assert 30 <= hit <= 90
    late = gate_with(FaultInjection(delay={"seconds": 3}))
    begun: list[str] = []
    late.rewrite(lambda request: begun.append(request.path))
    with TestGateway(late, upstreams={SERVER: "ok"}) as gateway:
        pending = gateway.start("GET", "/")
        gateway.until(lambda: begun)
        gateway.advance(2)
        assert not pending.is_done
        gateway.advance(2)
        assert pending.result().status == 200


# ---- split, mirror


def split(*clients: str, **config: Any) -> list[str]:
    gate = Gateway()
    for name in ("old", "new"):
        gate.upstream(name, f"{name}.test:80")
    gate.route("/", to="old")
    gate.use(TrafficSplit(**config))
    with TestGateway(gate, upstreams={"old": "old", "new": "new"}) as gateway:
        return [gateway.get("/", {"x-user": client}).text for client in clients]


def test_a_client_stays_and_the_first_part_keeps_whom_it_has_as_it_grows() -> None:
    users = [f"user{n}" for n in range(300)]
    shares = [
        split(*users, parts=[{"upstream": "new", "weight": part}, {"weight": 100 - part}], by="header:x-user")
        for part in (10, 10, 50, 100)
    ]
    assert shares[0] == shares[1] and set(shares[3]) == {"new"}
    assert 10 <= shares[0].count("new") <= 55 and 110 <= shares[2].count("new") <= 190
    assert all(later == "new" for early, later in zip(shares[0], shares[2], strict=True) if early == "new")


def test_without_a_client_chance_decides_by_weight() -> None:
    assert set(split(*"abcdef", parts=[{"upstream": "new", "weight": 1}, {"weight": 0}])) == {"new"}
    with pytest.raises(ConfigError, match="all weights are 0"):
        TrafficSplit(parts=[{"weight": 0}])


def mirrored(gate: Gateway, plugin: Mirror, copies: list[tuple[str, str, dict[str, str], bytes]]) -> None:
    class Sent:
        """What a copy's response is."""

        def stream(self) -> AsyncIterator[bytes]:
            async def nothing() -> AsyncIterator[bytes]:
                return
                yield b""

            return nothing()

    async def fetch(url: str, *, method: str, headers: Any, body: bytes | None, timeout: float) -> Sent:
        copies.append((method, url, dict(headers), body or b""))
        return Sent()

    plugin._context.fetch = fetch  # type: ignore[assignment]


def test_copies_have_what_the_request_had_but_no_secrets_and_a_mark() -> None:
    plugin, copies = Mirror(to="http://shadow.test/base/", max_body_bytes=5), []  # type: ignore[var-annotated]
    gate = gate_with(plugin)
    mirrored(gate, plugin, copies)
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        gateway.post(
            "/a?b=1", "12345", {"cookie": "a=b", "authorization": "secret", "x-a": "1", "host": "site"}
        )
        gateway.post("/too-long", "123456")
        gateway.get("/shadow", {"X-Shadow": "1"})
        gateway.get("/get")
        gateway.until(lambda: plugin._copies == 0 and len(copies) == 2)
        assert "x-shadow" not in gateway.received[0].headers
    method, url, headers, body = copies[0]
    assert (method, url, body) == ("POST", "http://shadow.test/base/a?b=1", b"12345")
    assert headers["x-a"] == "1" and headers["x-shadow"] == "1" and headers["host"] == "site"
    assert {"cookie", "authorization"} & set(headers) == set()
    assert copies[1][1:2] == ("http://shadow.test/base/get",)
    assert plugin._dropped.value == 1


def test_two_mirrors_each_send_the_whole_request() -> None:
    plugins, copies = [Mirror(to=f"http://{name}.test") for name in "ab"], []  # type: ignore[var-annotated]
    gate = Gateway()
    gate.route("/", to=SERVER)
    for n, plugin in enumerate(plugins):
        gate.use(plugin, name=f"mirror{n}")
        mirrored(gate, plugin, copies)
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        gateway.post("/x", "12345")
        gateway.until(lambda: len(copies) == 2)
    assert sorted((url, body) for _, url, _, body in copies) == [
        ("http://a.test/x", b"12345"),
        ("http://b.test/x", b"12345"),
    ]


def test_a_shadow_that_hangs_harms_nobody_and_copies_are_dropped_past_the_bound() -> None:
    import asyncio

    plugin = Mirror(to="http://shadow.test", max_copies=3, timeout=5)
    gate = gate_with(plugin)

    async def hang(url: str, **_: Any) -> None:
        await asyncio.sleep(1000)

    plugin._context.fetch = hang  # type: ignore[assignment, method-assign]
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        assert [gateway.get("/").status for _ in range(10)] == [200] * 10
        gateway.until(lambda: plugin._dropped.value == 7)
        assert plugin._copies == 3
        gateway.advance(6)
        gateway.until(lambda: plugin._copies == 0)
    assert plugin._failed.value == 3


def test_why_a_copy_failed_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    plugin = Mirror(to="http://127.0.0.1:1")
    gate = gate_with(plugin)
    with caplog.at_level("DEBUG", "headgate.plugin"), TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        assert gateway.get("/").status == 200
        gateway.until(lambda: plugin._failed.value == 1)
    (told,) = [one for one in caplog.records if one.getMessage() == "a copy failed"]
    assert "127.0.0.1:1" in vars(told)["reason"] and vars(told)["plugin"] == "mirror"


# ---- circuit breaker


def test_a_trial_of_one_circuit_is_none_of_another() -> None:
    plugins, now, health = [CircuitBreaker(requests=9), CircuitBreaker(requests=2)], [100.0], [Response(500)]
    gate = Gateway()
    gate.route("/", to=SERVER)
    for n, plugin in enumerate(plugins):
        gate.use(plugin, name=f"circuit{n}", order=n)
        plugin._clock = lambda: now[0]
    with TestGateway(gate, upstreams={SERVER: lambda received: health[0]}) as gateway:
        assert [gateway.get("/").status for _ in range(3)] == [500, 500, 503]
        now[0], health[0] = 200.0, Response(200)
        assert gateway.get("/").status == 200
        assert [plugin._table.get(f"all {SERVER}") for plugin in plugins] == [3, None]


def test_a_circuit_opens_tries_and_closes() -> None:
    plugin, now, health = CircuitBreaker(requests=4, open_for=5, longest=8), [100.0], [Response(500)]
    gate = gate_with(plugin)
    plugin._clock = lambda: now[0]
    with TestGateway(gate, upstreams={SERVER: lambda received: health[0]}) as gateway:
        assert [gateway.get("/").status for _ in range(4)] == [500] * 4
        refused = gateway.get("/")
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert len(gateway.received) == 4
        now[0] += 5.1  # half-open: one tries, fails, and it is open for longer
        assert [gateway.get("/").status for _ in range(2)] == [500, 503]
        assert gateway.get("/").headers["retry-after"] == "8"
        now[0] += 8.1
        health[0] = Response(200)
        assert [gateway.get("/").status for _ in range(3)] == [200] * 3
        health[0] = Response(500)
        assert [gateway.get("/").status for _ in range(2)] == [500] * 2  # counted from the beginning


def test_what_never_reached_a_server_opens_no_circuit() -> None:
    plugin = CircuitBreaker(requests=2)
    gate = gate_with(plugin)
    gate.use(FaultInjection(abort={"status": 503}), order=1000)
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        for _ in range(10):
            assert gateway.get("/").text == "a fault that was asked for\n"


def test_a_server_that_is_away_opens_the_circuit() -> None:
    plugin = CircuitBreaker(requests=3)
    with TestGateway(gate_with(plugin), upstreams={SERVER: Fault.REFUSE}) as gateway:
        assert [gateway.get("/").status for _ in range(5)] == [502, 502, 502, 503, 503]


# ---- settings


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Quota", {"amount": 1, "period": "fortnight"}, "cannot be `fortnight`"),
        ("Quota", {"amount": 1, "period": "day", "timezone": "Mars/Base"}, "there is no time zone"),
        ("Quota", {"amount": 1, "period": "day", "by": "consumr"}, "is not a valid part of `by`"),
        ("Maintenance", {"allow": ["10.0.0.0/64"]}, "is not a valid network"),
        ("FaultInjection", {}, "no fault is configured"),
        ("Mirror", {"to": "10.0.0.1:80"}, "is not a valid URL"),
        ("ConcurrencyLimit", {"limit": 0}, "at least 1"),
        ("CircuitBreaker", {"requets": 1}, "did you mean `requests`"),
    ],
)
def test_wrong_settings_are_refused_with_a_hint(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        getattr(built_in, name)(**settings)
