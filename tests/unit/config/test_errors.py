"""Errors: nearest names, places, and our words in the stead of pydantic's."""

from typing import Any

import pytest

from headgate.config.errors import ConfigError, Problem, Where, dotted, nearest, suggestion
from headgate.config.model import GatewayConfig


def refused(values: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as error:
        GatewayConfig.parse(values)
    return [str(problem).replace("\n ", "") for problem in error.value.problems]


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    assert nearest("Requst", ["request", "response"]) == "request"
    assert nearest("zzz", ["request"]) is None


def test_words_of_other_gateways_are_understood() -> None:
    assert nearest("proxy_pass", ["to", "path"]) == "to"
    assert nearest("proxy_pass", ["path"]) is None


def test_without_a_near_name_all_are_listed() -> None:
    assert suggestion("zzz", ["a", "b"]) == "one of `a`, `b`"
    assert suggestion("zzz", []) is None


def test_a_problem_reads_as_place_message_and_hint() -> None:
    assert str(Problem("wrong", "do right", Where("gate.py", 3))) == "gate.py:3: wrong\n  hint: do right"


def test_a_path_reads_as_in_python() -> None:
    assert dotted(("routes", 0, "to")) == "routes[0].to"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"rotues": []}, "unknown key `rotues` hint: did you mean `routes`?"),
        (
            {"limits": {"max_hed_bytes": 1}},
            "unknown key `max_hed_bytes` in `limits` hint: did you mean `max_head_bytes`?",
        ),
        (
            {"routes": [{"timeouts": {"conect": 1}}]},
            "unknown key `conect` in `routes[0].timeouts` hint: did you mean `connect`?",
        ),
        (
            {"upstreams": {"a": {"server": []}}},
            "unknown key `server` in `upstreams.a` hint: did you mean `servers`?",
        ),
        ({"upstreams": {"a": {}}}, "`servers` is missing in `upstreams.a` hint: add `servers`"),
        ({"upstreams": {"a": []}}, "`upstreams.a.servers` is empty hint: it must have at least 1"),
        (
            {"upstreams": {"a": {"servers": ["b:1"], "balance": "rr"}}},
            "`upstreams.a.balance` cannot be `rr` hint: one of `round_robin`, `least_conn`, `least_time`, `p2c`, "
            "`random`, `ip_hash`, `hash`, `first`, `sticky`, `pull`",
        ),
        (
            {"routes": 5},
            "`routes` must be a list, not `5` hint: write `[...]`, or one item per line after `- `",
        ),
        ({"limits": 5}, "`limits` must be a table, not `5` hint: write its keys below it, or remove it"),
        (
            {"workers": "many"},
            "`workers` must be a whole number, not `many` hint: write digits only, such as `10`",
        ),
        (
            {"timeouts": {"send": 0}},
            "`timeouts.send`: `0` is not a valid duration here hint: write a duration such as `5s`",
        ),
        ({"hooks": {"requst": "a:b"}}, "unknown key `requst` in `hooks` hint: did you mean `request`?"),
        (
            {"hooks": {"request": "sign"}},
            "`hooks.request[0].function`: `sign` is not a valid reference "
            "hint: write `module:name`, such as `hooks:sign`",
        ),
        (
            {"access_log": "jsn"},
            "`access_log.format`: `jsn` is not a valid log format hint: did you mean `json`?",
        ),
        (
            {"routes": [{"to": "apo"}], "upstreams": {"api": "b:1"}},
            "`routes[0].to`: there is no upstream `apo` hint: did you mean `api`?",
        ),
        (
            {"routes": [{"to": "a:1", "respond": "x"}]},
            "`routes[0]`: route `/` has both `to` and `respond` hint: a route does one thing",
        ),
        (
            {"listeners": [":80", ":80"]},
            "`listeners[1].address`: duplicate address `:80` hint: give each its own, or leave one out",
        ),
        (
            {"routes": [{"name": "a"}, {"name": "a"}]},
            "`routes[1].name`: duplicate route name `a` hint: give each its own, or leave one out",
        ),
    ],
)
def test_each_mistake_is_told_with_its_place_and_what_to_write(values: dict[str, Any], problem: str) -> None:
    assert problem in refused(values)


@pytest.mark.parametrize("key", ["upstreams", "consumers", "plugin_sets"])
@pytest.mark.parametrize(("given", "shown"), [(None, "null"), (True, "true"), (False, "false")])
def test_what_holds_no_secret_is_shown_where_secrets_may_stand(key: str, given: object, shown: str) -> None:
    problem = " ".join(refused({key: given}))
    assert f"not `{shown}`" in problem and "*" not in problem


@pytest.mark.parametrize("given", [7123456, "hunter2", ["hunter2"]])
def test_what_could_be_a_secret_is_masked_where_secrets_may_stand(given: object) -> None:
    problem = " ".join(refused({"consumers": given}))
    assert "hunter2" not in problem and "7123456" not in problem and "**********" in problem


def test_a_refused_server_is_told_once() -> None:
    assert refused({"upstreams": {"a": ["b:1 wieght=2"]}}) == [
        "`upstreams.a.servers[0]`: unknown server option `wieght` hint: did you mean `weight`?"
    ]
