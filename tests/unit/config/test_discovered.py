"""Names of servers: how they are written, and what an upstream comes to with what was found."""

from typing import Any

import pytest

from headgate import Gateway
from headgate.config.discovered import every_sought, serving
from headgate.config.errors import ConfigError
from headgate.config.model import GatewayConfig
from headgate.config.resolver import NameServer, parse_name_server
from headgate.config.upstreams import UpstreamConfig


def upstream(*servers: str) -> UpstreamConfig:
    return UpstreamConfig.parse({"servers": list(servers)})


def served(one: UpstreamConfig, sets: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(serving.config.address, serving.host) for serving in serving(one, sets)]


def test_only_names_are_sought() -> None:
    servers = [
        *(
            "192.0.2.1:80",
            "[::1]:80",
            "unix:/run/app.sock",
            "localhost:80",
            "app.localhost:80",
            "https://192.0.2.1",
        ),
        *("left.test:80 resolve=false", "App.test:80", "https://secure.test", "srv:_http._tcp.app.test"),
    ]
    config = GatewayConfig.parse(
        {"listeners": ":1", "upstreams": {"u": servers}, "routes": [{"to": "other.test:1"}]}
    )
    assert [(one.key, one.name, one.port) for one in every_sought(config).values()] == [
        ("App.test:80", "app.test", 80),
        ("secure.test:443", "secure.test", 443),
        ("srv:_http._tcp.app.test", "_http._tcp.app.test", None),
        ("other.test:1", "other.test", 1),
    ]


def test_name_is_one_server_until_it_was_looked_up() -> None:
    one = upstream("a.test:80 weight=3", "192.0.2.9:80")
    assert served(one, {}) == [("a.test:80", None), ("192.0.2.9:80", None)]
    assert served(one, {"a.test:80": []}) == [("192.0.2.9:80", None)]
    found = {"a.test:80": [{"address": "192.0.2.1:80"}, {"address": "192.0.2.9:80"}]}
    assert served(one, found) == [("192.0.2.1:80", "a.test:80"), ("192.0.2.9:80", "a.test:80")], "each once"
    assert [one.config.weight for one in serving(one, found)] == [3, 3]


def test_service_has_no_servers_until_it_was_looked_up_and_tls_by_its_name() -> None:
    assert served(upstream("srv:_http._tcp.a.test"), {}) == []
    key = "srv:_https._tcp.a.test"
    found = {key: [{"address": "192.0.2.1:8443", "weight": 7, "backup": True}]}
    one = serving(upstream(key), found)[0]
    assert (one.config.address, one.host) == ("https://192.0.2.1:8443", "a.test:8443")
    assert (one.config.weight, one.config.backup) == (7, True)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("srv:", "write `srv:_http._tcp.app.internal`"),
        ("srv:_http._tcp.app.test:80", "SRV records say the ports: write `srv:_http._tcp.app.test`"),
        ("srv:https://app.test", "write `srv:_https._tcp.app.internal` for servers that speak TLS"),
        ("srv:192.0.2.1", "write `srv:_http._tcp.app.internal`"),
    ],
)
def test_what_names_no_service_is_refused(text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        upstream(text)
    problem = caught.value.problems[0]
    assert f"`{text}` is not a server's address" in problem.message and problem.hint == hint


def test_weights_of_a_service_are_those_of_its_records() -> None:
    with pytest.raises(
        ConfigError, match=r"the weights of `srv:_http\._tcp\.a\.test` are those of its SRV records"
    ):
        GatewayConfig.parse({"upstreams": {"u": "srv:_http._tcp.a.test weight=2"}})


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("file:servers.txt", "the path of a list must be absolute: `file:/etc/headgate/servers.txt`"),
        ("file:", "the path of a list must be absolute: `file:/etc/headgate/servers.txt`"),
        ("discover:", "write `discover:my_module:function`, or `@gate.discover(...)` in a Python file"),
        ("discover:a:b:c", "write `discover:my_module:function`, or `@gate.discover(...)` in a Python file"),
    ],
)
def test_what_names_no_list_is_refused(text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        upstream(text)
    problem = caught.value.problems[0]
    assert f"`{text}` is not a server's address" in problem.message and problem.hint == hint


def test_servers_of_a_list_have_settings_of_their_own() -> None:
    one = upstream("file:/run/servers.txt max_fails=7")
    found = {
        "file:/run/servers.txt": [{"address": "https://a.test:443", "weight": 3}, {"address": "unix:/run/a"}]
    }
    assert served(one, found) == [("https://a.test:443", None), ("unix:/run/a", None)]
    assert [(one.config.weight, one.config.max_fails) for one in serving(one, found)] == [(3, 7), (1, 7)]
    assert one.is_secure, "it may come to that"


def test_name_servers_are_addresses() -> None:
    assert parse_name_server("192.0.2.53") == NameServer("192.0.2.53", 53)
    assert parse_name_server("192.0.2.53:5353") == NameServer("192.0.2.53", 5353)
    assert parse_name_server("fd00::53") == NameServer("fd00::53", 53)
    assert parse_name_server("[fd00::53]:5353") == NameServer("fd00::53", 5353)
    assert parse_name_server("tls://192.0.2.53") == NameServer("192.0.2.53", 853, "192.0.2.53")
    assert parse_name_server("tls://[fd00::53]:8853#dns.test") == NameServer("fd00::53", 8853, "dns.test")
    for text in (
        "192.0.2.53#dns.test",
        "tls://192.0.2.53#",
        "tls://dns.test",
        "ns.test",
        "",
        "192.0.2.53:",
        "192.0.2.53:0",
        "192.0.2.53:65536",
        "[fd00::53",
        "192.0.2.53:x",
    ):
        with pytest.raises(ConfigError, match="is not the address of a name server"):
            GatewayConfig.parse({"resolver": {"servers": [text]}})
    with pytest.raises(ConfigError, match="is not a domain"):
        GatewayConfig.parse({"resolver": {"search": ["a b"]}})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_ttl": "5s", "max_ttl": "1s"}, "`min_ttl` is longer than `max_ttl`"),
        ({"ca": "/etc/hosts"}, "for name servers that are asked over TLS"),
        ({"ca": "/etc/hosts", "servers": "10.0.0.53"}, "for name servers that are asked over TLS"),
        (
            {"ca": "/missing/ca.pem", "servers": "tls://10.0.0.53"},
            "the file `/missing/ca.pem` does not exist",
        ),
        ({"ca": "ca.pem", "servers": "tls://10.0.0.53"}, "the file `ca.pem` does not exist"),
    ],
)
def test_settings_of_lookups_that_can_have_no_effect_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        GatewayConfig.parse({"resolver": settings})
    assert caught.value.hint
    GatewayConfig.parse({"resolver": {"min_ttl": "1h"}})  # longer than what `max_ttl` is by itself


def test_a_name_that_no_function_can_have_is_refused_as_an_address() -> None:
    with pytest.raises(ConfigError, match="`discover:a b` is not a server's address"):
        Gateway().discover("a b")


def test_a_function_that_wants_arguments_is_refused_where_it_is_registered() -> None:
    gate = Gateway()
    with pytest.raises(ConfigError, match="is called without arguments") as caught:

        @gate.discover("app")  # type: ignore[type-var]
        def find(zone: str) -> list[str]:
            return [zone]

    assert caught.value.file == __file__ and caught.value.hint
    gate.discover("other")(lambda zone="a": [zone])
