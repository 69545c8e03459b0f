"""The settings of tunnels, and what is said of wrong ones."""

import hashlib
from typing import Any

import pytest

from headgate.config.addresses import tunnels_folder
from headgate.config.errors import ConfigError
from headgate.config.model import GatewayConfig
from headgate.config.tunnels import tunnel_plan

SECRET = "0123456789abcdef"
TOKEN = {"token": SECRET, "expose": "home"}


def parsed(**more: Any) -> GatewayConfig:
    return GatewayConfig.parse({"listeners": ":8080", **more}, locate=lambda _: None)


def test_logs_call_a_holder_by_its_name() -> None:
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    tokens = [
        {**TOKEN, "name": "cellar"},
        {"token": "SHA256:".lower() + "A" * 64, "expose": ["b", "a"], "max_tunnels": 7},
    ]
    plan = tunnel_plan(parsed(tunnels={"tokens": tokens, "wait": "1s"}))
    assert plan == {
        "folder": tunnels_folder(),
        "tokens": [
            {"digest": digest, "name": "cellar", "expose": ["home"], "most": 100},
            {"digest": "a" * 64, "name": "b", "expose": ["a", "b"], "most": 7},
        ],
        "wait": 1.0,
        "max_tunnels": 1000,
        "frames_only": [],
    }


def test_names_of_tcp_and_http2_only_have_no_connections_beside_the_tunnel() -> None:
    more = {
        "tunnels": {"tokens": {**TOKEN, "expose": ["a", "b", "c", "d"]}},
        "tcp": [{"address": ":1", "to": "tunnel:a"}, {"address": ":2", "to": "tunnel:b"}],
        "upstreams": {"both": "tunnel:b", "h2": {"servers": "tunnel:c", "protocol": "h2"}, "d": "tunnel:d"},
        "routes": [{"to": "both"}],
    }
    plan = tunnel_plan(parsed(**more))
    assert plan and plan["frames_only"] == ["a", "c"]


@pytest.mark.parametrize("settings", [{"proxy_protocol": "v1"}, {"keepalive": {"max_idle": 0}}])
def test_names_whose_connections_are_not_reused_have_none_beside_the_tunnel(settings: dict[str, Any]) -> None:
    upstreams = {"once": {"servers": "tunnel:home", **settings}}
    plan = tunnel_plan(parsed(tunnels={"tokens": TOKEN}, upstreams=upstreams, routes=[{"to": "once"}]))
    assert plan and plan["frames_only"] == ["home"]
    more = {"routes": [{"to": "once"}, {"path": "/b", "to": "tunnel:home"}]}
    plan = tunnel_plan(parsed(tunnels={"tokens": TOKEN}, upstreams=upstreams, **more))
    assert plan and plan["frames_only"] == []


def test_a_server_behind_a_tunnel_is_the_socket_that_leads_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_STATE_DIR", "/srv/state")
    config = parsed(tunnels={"tokens": TOKEN}, upstreams={"home": {"servers": "tunnel:home weight=2"}})
    assert config.upstreams["home"].servers[0].address == "unix:/srv/state/tunnels/home.sock"
    with pytest.raises(ConfigError, match="too long for a socket"):
        monkeypatch.setenv("HEADGATE_STATE_DIR", "/srv/" + "long" * 25)
        parsed(tunnels={"tokens": TOKEN}, routes=[{"to": "tunnel:home"}])


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "without tunnels": ({"upstreams": {"a": {"servers": "tunnel:home"}}}, "`tunnel:home` needs `tunnels`"),
    "nobody exposes it": (
        {"tunnels": {"tokens": TOKEN}, "routes": [{"to": "tunnel:hoem"}]},
        "did you mean `home`?",
    ),
    "of a TCP listener": ({"tcp": {"address": ":1", "to": "tunnel:home"}}, "`tunnel:home` needs `tunnels`"),
    "not a name": ({"upstreams": {"a": {"servers": "tunnel:Home!"}}}, "is not a server's address"),
    "short token": ({"tunnels": {"tokens": {**TOKEN, "token": "short"}}}, "at least 16 characters"),
    "reserved": ({"tunnels": {"tokens": {**TOKEN, "expose": "endpoint"}}}, "cannot be exposed"),
    "path": ({"tunnels": {"tokens": {**TOKEN, "expose": "../etc"}}}, "cannot be exposed"),
    "no tokens": ({"tunnels": {"tokens": []}}, "tokens"),
    "one token twice": (
        {"tunnels": {"tokens": [TOKEN, {**TOKEN, "name": "b"}]}},
        "two tokens have the same token",
    ),
    "one name twice": (
        {"tunnels": {"tokens": [TOKEN, {**TOKEN, "token": "f" * 16}]}},
        "two tokens have the same name `home`",
    ),
}


@pytest.mark.parametrize(("config", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parsed(**config)
    assert said in str(refused.value)
