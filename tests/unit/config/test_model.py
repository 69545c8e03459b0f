"""The model: short forms, defaults, that it is complete, and that it says the same in all its shapes."""

from typing import Any, get_args

import jsonschema
import pytest
from pydantic import BaseModel

from headgate.config import json_schema
from headgate.config.errors import ConfigError
from headgate.config.hooks import StreamHooksConfig
from headgate.config.limits import LimitsConfig, LimitsOptions, TimeoutsConfig, TimeoutsOptions
from headgate.config.model import GatewayConfig
from headgate.config.settings import Settings
from headgate.phases import PHASES

SHORT: dict[str, Any] = {
    "listeners": ":8080",
    "upstreams": {
        "one": "10.0.0.1:9000",
        "many": ["a:1 weight=2", {"address": "b:2"}],
        "whole": {"servers": "c:3"},
    },
    "routes": [
        {"path": "/a", "to": "one", "methods": "get", "host": "a.com"},
        {"path": "/b", "redirect": "/c"},
        {"path": "/d", "respond": "hi"},
        {"path": "/e", "respond": 204},
        {"path": "/g", "to": "many", "headers": {"x-a": True, "x-b": False, "x-c": "1"}, "query": "q"},
        {
            "path": "/h",
            "to": "10.0.0.9:80",
            "hooks": {"request": "m:f", "response": ["m:g", {"function": "m:h"}]},
        },
    ],
    "plugins": ["m:P"],
    "access_log": True,
    "limits": {"max_body_bytes": "16m"},
    "timeouts": {"connect": "500ms"},
}


def test_short_forms_stand_for_tables() -> None:
    config = GatewayConfig.parse(SHORT)
    assert config.listeners[0].address == config.listeners[0].name == ":8080"
    assert [server.weight for server in config.upstreams["many"].servers] == [2, 1]
    assert config.upstreams["whole"].servers[0].address == "c:3"
    assert config.routes[0].methods == ("GET",)
    assert config.routes[1].redirect and config.routes[1].redirect.status == 308
    assert config.routes[2].respond and config.routes[2].respond.body == "hi"
    assert config.routes[3].respond and config.routes[3].respond.status == 204
    assert config.routes[4].headers == {"x-a": None, "!x-b": None, "x-c": "1"}
    assert config.routes[4].query == {"q": None}
    assert [hook.function for hook in config.routes[5].hooks.response] == ["m:g", "m:h"]
    assert config.access_log and config.access_log.format == "json"
    assert config.limits.max_body_bytes == 1 << 24
    assert config.timeouts.connect == 0.5


def test_what_is_shown_reads_back_as_the_same() -> None:
    config = GatewayConfig.parse(SHORT)
    assert GatewayConfig.parse(config.model_dump(mode="json")) == config


def test_the_schema_accepts_what_the_model_does() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    validator = jsonschema.Draft202012Validator(json_schema())
    config = GatewayConfig.parse(SHORT)
    for values in ({}, config.model_dump(mode="json"), {**SHORT, "$schema": "x"}):
        validator.validate(values)


@pytest.mark.parametrize(
    "values", [{"rotues": []}, {"timeouts": {"connect": "x"}}, {"limits": {"max_body_bytes": -1}}]
)
def test_the_schema_refuses_what_the_model_does(values: dict[str, Any]) -> None:
    assert list(jsonschema.Draft202012Validator(json_schema()).iter_errors(values))


def tables(model: type[BaseModel] = GatewayConfig) -> list[type[BaseModel]]:
    found = [model]
    for field in model.model_fields.values():
        pending = [field.annotation]
        while pending:
            one = pending.pop()
            pending += get_args(one)
            if isinstance(one, type) and issubclass(one, Settings):
                found += tables(one)
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("model", tables())
def test_every_setting_is_described_and_no_table_takes_unknown_keys(model: type[BaseModel]) -> None:
    assert model.model_config["extra"] == "forbid"
    assert model.__doc__
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_keywords_of_the_setters_are_the_models_fields() -> None:
    assert set(LimitsOptions.__annotations__) == set(LimitsConfig.model_fields)
    assert set(TimeoutsOptions.__annotations__) == set(TimeoutsConfig.model_fields)


def test_hooks_in_files_have_exactly_the_phases() -> None:
    config = GatewayConfig()
    everywhere = {name for name, phase in PHASES.items() if phase.scope != "listener"}
    assert set(type(config.hooks).model_fields) == everywhere
    on_listeners = {name for name, phase in PHASES.items() if phase.scope in ("connection", "listener")}
    assert set(StreamHooksConfig.model_fields) == on_listeners
    route = GatewayConfig.parse({"routes": [{}]}).routes[0]
    assert set(type(route.hooks).model_fields) == {name for name, phase in PHASES.items() if phase.on_routes}


def test_a_route_to_an_address_makes_an_upstream() -> None:
    config = GatewayConfig.parse({"routes": [{"to": "http://app"}, {"to": "http://app"}]})
    assert [server.address for server in config.every_upstream()["http://app"].servers] == ["app:80"]
    assert len(config.every_upstream()) == 1


def test_access_log_false_is_none() -> None:
    assert GatewayConfig.parse({"access_log": False}).access_log is None


@pytest.mark.parametrize("to", ["stdout", "file:/x", "syslog:/dev/log", "syslog:udp://host:514"])
def test_logs_go_to_known_places(to: str) -> None:
    config = GatewayConfig.parse({"access_log": {"to": to}})
    assert config.access_log and config.access_log.to == to


def test_a_key_under_its_old_name_is_refused_with_the_new_one() -> None:
    certificate = {"chain": "a.pem", "key": "a.key"}
    with pytest.raises(ConfigError) as refused:
        GatewayConfig.parse({"listeners": {"address": ":1", "tls": {"certificates": certificate}}})
    (problem,) = refused.value.problems
    assert "`chain` in `listeners[0].tls.certificates[0]` has been renamed" in problem.message
    assert problem.hint == "write `certificate`"


def test_null_and_booleans_are_shown_as_files_write_them() -> None:
    with pytest.raises(ConfigError, match="`routes` must be a list, not `null`"):
        GatewayConfig.parse({"routes": None})
    with pytest.raises(ConfigError, match="`limits` must be a table, not `true`"):
        GatewayConfig.parse({"limits": True})
