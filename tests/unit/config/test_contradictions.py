"""Settings of one topic that contradict each other, or have no effect, are refused with a hint; defaults read back."""

from typing import Any

import pytest

from headgate.config.errors import ConfigError
from headgate.config.http3 import Http3Config
from headgate.config.log_targets import LogTargetConfig
from headgate.config.metrics import StatsdConfig
from headgate.config.model import GatewayConfig
from headgate.config.upstreams import UpstreamConfig

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"deadline": {"default": "2h"}}, "`default` is longer than `max`"),
    ({"deadline": {"header": "Host"}}, "`host` names the server"),
    ({"circuit_breaker": {"open": "2m"}}, "`open` is longer than `max_open`"),
    ({"circuit_breaker": {"failures": []}}, "failures"),
    ({"max_connections": 1, "queue": {"interval": 5}}, "`interval` has no effect without `target`"),
    ({"keepalive": {"min_idle": 5, "max_idle": 4}}, "`keepalive.min_idle` is more than `max_idle`"),
    (
        {"servers": ["a:1", "b:1"], "hedge": "1s", "retries": {"attempt_timeout": "1s"}},
        "`hedge` has no effect: `retries.attempt_timeout`",
    ),
    ({"retries": {"attempts": 0, "backoff": {}}}, "`retries.backoff` has no effect"),
    ({"retries": {"backoff": {"base": "1s"}}}, "`backoff.base` must be"),
    ({"fallback": {"stale": {"max_age": "100ms"}}}, "`stale.max_age` is less than 1 s"),
    ({"fallback": {"stale": {"max_size": "1k"}}}, "`stale.max_body` is more than `max_size`"),
    ({"max_connections": 3, "adaptive_limit": {}}, "`adaptive_limit` has no effect: its `min` is 3"),
]


@pytest.mark.parametrize(("settings", "said"), WRONG)
def test_upstreams_say_what_does_not_fit(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        UpstreamConfig.parse({"servers": ["10.0.0.1:80"], **settings})
    assert "hint: " in str(error.value)


OF_REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("queue", {"max_connections": 1, "queue": {"max_pending": 5}}),
    ("hedge", {"servers": ["a:1", "b:1"], "hedge": "1s"}),
    ("adaptive_limit", {"adaptive_limit": {}}),
    ("fallback", {"fallback": {"respond": "sorry"}}),
    ("deadline", {"deadline": {"header": "x-deadline"}}),
    ("keepalive", {"keepalive": {"max_idle": 5}}),
    ("protocol", {"protocol": "h2"}),
    ("balance", {"balance": "sticky"}),
    ("hash_on", {"balance": "hash", "hash_on": "uri"}),
    ("retries.on", {"retries": {"on": ["503"]}}),
    ("retries.attempt_timeout", {"retries": {"attempt_timeout": 5}}),
    ("retries.methods", {"retries": {"methods": ["GET"]}}),
    ("retries.backoff", {"retries": {"backoff": {}}}),
    ("timeouts.upstream_head", {"timeouts": {"upstream_head": 5}}),
]


def gateway(upstream: dict[str, Any], **more: Any) -> dict[str, Any]:
    streams = [{"address": ":5432", "to": "db"}]
    return {"upstreams": {"db": {"servers": ["10.0.0.1:5432"], **upstream}}, "tcp": streams, **more}


@pytest.mark.parametrize(("name", "settings"), OF_REQUESTS)
def test_settings_of_requests_are_refused_where_only_connections_come(
    name: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` has no effect: it is about HTTP requests") as error:
        GatewayConfig.parse(gateway(settings))
    assert "hint: remove it" in str(error.value)
    assert GatewayConfig.parse(gateway(settings, routes=[{"path": "/", "to": "db"}]))


@pytest.mark.parametrize(
    "settings",
    [
        {"balance": "least_conn", "max_connections": 5, "retries": 2, "timeouts": {"connect": 5}},
        {"balance": "hash", "circuit_breaker": {}, "outlier": {}, "slow_start": 5, "drain_timeout": 5},
        {"proxy_protocol": "v2", "health": {"type": "tcp"}},
    ],
)
def test_settings_of_connections_are_taken_where_only_these_come(settings: dict[str, Any]) -> None:
    assert GatewayConfig.parse(gateway(settings))


@pytest.mark.parametrize("settings", [{"retries": 2}, {"proxy_protocol": "v1"}])
def test_datagrams_have_no_retries_and_no_proxy_header(settings: dict[str, Any]) -> None:
    whole = gateway(settings)
    whole["udp"] = whole.pop("tcp")
    with pytest.raises(ConfigError, match=f"`{next(iter(settings))}` has no effect.*only `udp` sends"):
        GatewayConfig.parse(whole)


@pytest.mark.parametrize("settings", [{"qlog_share": "5%"}, {"qlog_max_files": 5}, {"qlog_max_bytes": "1M"}])
def test_settings_of_qlog_need_its_folder(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(settings))}` has no effect without `qlog`") as error:
        Http3Config.parse(settings)
    assert "hint: " in str(error.value)
    shown = Http3Config.parse({**settings, "qlog": "traces"})
    assert Http3Config.parse(shown.model_dump()) == shown


@pytest.mark.parametrize(
    "settings",
    [
        {"deadline": {"default": "1h"}},
        {"circuit_breaker": {"open": "2m", "max_open": "2m"}},
        {"max_connections": 1, "queue": {"interval": 5, "target": 1}},
        {"max_connections": 1, "queue": {"fair": True}},
        {"keepalive": {"min_idle": 4, "max_idle": 4}},
        {"max_connections": 4, "adaptive_limit": {}},
    ],
)
def test_what_fits_reads_back_with_its_defaults(settings: dict[str, Any]) -> None:
    upstream = UpstreamConfig.parse({"servers": ["10.0.0.1:80"], **settings})
    for topic in settings:
        shown = getattr(upstream, topic)
        shown = shown.model_dump() if hasattr(shown, "model_dump") else shown
        again = UpstreamConfig.parse({"servers": ["10.0.0.1:80"], **settings, topic: shown})
        assert again == upstream


@pytest.mark.parametrize(
    "to", ["a:\u0663", "a..b:1", "-:1", "-a:1", "[:::]:1", "[]:1", "[1.2.3.4]:1", "a:0", ":1", "a\n:1"]
)
def test_statsd_wants_a_host_and_a_port(to: str) -> None:
    with pytest.raises(ConfigError, match="is not the address of a StatsD server"):
        StatsdConfig.parse(to)


@pytest.mark.parametrize("to", ["a:1", "a.b-c_d.:65535", "[::1]:8125", "[::ffff:1.2.3.4]:1", "10.0.0.1:1"])
def test_statsd_takes_names_and_addresses(to: str) -> None:
    assert StatsdConfig.parse(to).to == to


def test_a_way_to_prove_passwords_needs_one() -> None:
    with pytest.raises(ConfigError, match="`sasl` has no effect without `user`"):
        LogTargetConfig.parse({"to": "kafka:tcp://a:1/t", "sasl": "plain"})
