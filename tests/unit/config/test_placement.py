"""Priorities, zones and metadata in the configuration: what is read, refused, and told to the engine."""

from typing import Any

import pytest

from headgate.config.errors import ConfigError
from headgate.config.model import GatewayConfig
from headgate.config.placement import placement_snapshot
from headgate.config.snapshot_upstreams import servers_snapshot
from headgate.config.upstreams import ServerConfig, UpstreamConfig


def upstream(*servers: Any, **settings: Any) -> UpstreamConfig:
    return UpstreamConfig.parse({"servers": list(servers), **settings})


def test_short_form_says_priority_zone_and_metadata() -> None:
    server = ServerConfig.parse(
        "10.0.0.1:1 priority=2 zone=eu-1a metadata.version=v2 metadata.app/stage=live weight=3"
    )
    assert (server.priority, server.zone, server.weight) == (2, "eu-1a", 3)
    assert server.metadata == {"version": "v2", "app/stage": "live"}
    assert server == ServerConfig.parse(server.model_dump())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.1:1 metadata=v2", "unknown server option `metadata`"),
        ("10.0.0.1:1 metadata.version", "unknown server option `metadata.version`"),
        ("10.0.0.1:1 metadata.a=1 metadata.a=2", "duplicate server option `metadata.a`"),
        ("10.0.0.1:1 metadata.a=", "not a valid value of metadata"),
        ("10.0.0.1:1 metadata.-=1", "not a valid name of metadata"),
        ("10.0.0.1:1 zone=-", "not a valid zone"),
        ("10.0.0.1:1 priority=128", "`priority` must be at most 127"),
        ("10.0.0.1:1 priority=-1", "`priority` must be at least 0"),
        ({"address": "10.0.0.1:1", "metadata": {f"n{n}": "1" for n in range(17)}}, "there are 17 metadata"),
        ({"address": "10.0.0.1:1", "metadata": {"version": 2}}, "metadata"),
    ],
)
def test_what_servers_cannot_be_marked_with_is_refused(text: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServerConfig.parse(text)


@pytest.mark.parametrize(
    ("servers", "settings", "message"),
    [
        (["a:1 backup priority=1"], {}, "`a:1` is a `backup` with a `priority`"),
        (["a:1"], {"locality": "zone"}, "no server has a `zone`"),
        (["a:1 zone=x"], {"locality": "region"}, "locality"),
        (["a:1", "b:1 backup"], {"overprovisioning": 2}, "all servers have the same priority"),
        (["a:1", "b:1 priority=1"], {"overprovisioning": 0.9}, "`overprovisioning` must be at least 1"),
        (["a:1"], {"subset_fallback": "any"}, "no server has `metadata`"),
        (["a:1 metadata.a=b"], {"subset_fallback": {}}, "subset_fallback"),
        (["a:1 metadata.a=b"], {"subset_fallback": "some"}, "subset_fallback"),
    ],
)
def test_what_has_no_effect_is_refused_with_a_hint(
    servers: list[str], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        upstream(*servers, **settings)


def test_lists_of_servers_may_say_it_all_later() -> None:
    read = upstream("file:/servers.txt", locality="zone", overprovisioning=2, subset_fallback="any")
    assert read.locality and read.locality.prefer == "zone"


def test_subset_of_a_route_needs_an_upstream() -> None:
    for route, message in (
        ({"respond": "a", "subset": {"a": "b"}}, "sends to no upstream"),
        ({"to": "a:1", "subset": {}}, "a subset without metadata is all servers"),
    ):
        with pytest.raises(ConfigError, match=message):
            GatewayConfig.parse({"routes": [route]})


def test_settings_about_servers_are_refused_with_pull_and_of_requests_for_tcp() -> None:
    pulled = {"balance": "pull", "pull": {"tokens": "x" * 32}}
    with pytest.raises(ConfigError, match="`locality` has no effect"):
        UpstreamConfig.parse({**pulled, "locality": "zone"})
    tcp = {"tcp": [{"address": ":1", "to": "u"}]}
    marked = {"servers": "a:1 metadata.a=b", "subset_fallback": "any"}
    with pytest.raises(ConfigError, match="subset_fallback"):
        GatewayConfig.parse({**tcp, "upstreams": {"u": marked}})


@pytest.mark.parametrize(
    ("fallback", "told"), [("none", None), ("any", {}), ({"version": "v1"}, {"version": "v1"})]
)
def test_engine_is_told_the_zone_only_where_it_matters(fallback: object, told: object) -> None:
    servers = "10.0.0.1:1 zone=eu-1a metadata.version=v1"
    plain = upstream(servers, subset_fallback=fallback)
    assert placement_snapshot(plain, "eu-1a") == {
        "overprovisioning_percent": 140,
        "zone": None,
        "subset_fallback": told,
    }
    assert placement_snapshot(upstream(servers, locality="zone"), "eu-1a")["zone"] == "eu-1a"


def test_found_servers_say_their_own_place_and_add_metadata(tmp_path: Any) -> None:
    read = upstream("consul:web", locality="zone")
    written = read.servers[0].model_copy(
        update={"zone": "eu-1a", "metadata": {"app": "web", "version": "v1"}}
    )
    read = read.model_copy(update={"servers": (written,)})
    found = [
        {"address": "10.0.0.1:1", "zone": "eu-1b", "metadata": {"version": "v2"}, "priority": 1},
        {"address": "10.0.0.2:1"},
    ]
    first, second = servers_snapshot("u", read, tmp_path, {"consul:web": found})
    assert (first["zone"], first["priority"]) == ("eu-1b", 1)
    assert first["metadata"] == {"app": "web", "version": "v2"}
    assert (second["zone"], second["metadata"]) == ("eu-1a", {"app": "web", "version": "v1"})
