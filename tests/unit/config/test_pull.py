"""Settings of `balance: pull`: what fits, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from headgate.compile.loading import load
from headgate.config.errors import ConfigError
from headgate.config.model import GatewayConfig
from headgate.config.pull import dispatch_plan, pull_limits
from headgate.pull import Worker
from headgate.worker.loaded import compiled

TOKEN = "t" * 32


def parsed(upstream: dict[str, Any], **more: Any) -> GatewayConfig:
    return GatewayConfig.parse({"upstreams": {"jobs": upstream}, **more})


@pytest.mark.parametrize(
    ("upstream", "problem"),
    [
        ({"balance": "pull"}, "`balance: pull` needs to know its workers"),
        ({"balance": "pull", "pull": {"tokens": "short"}}, "a token must have at least 16 characters"),
        ({"balance": "pull", "pull": {"tokens": ["a b" * 10]}}, "printable ASCII without spaces"),
        ({"balance": "pull", "pull": {"tokens": []}}, "is empty"),
        ({"balance": "pull", "pull": {"tokens": TOKEN}, "servers": "a:1"}, "has no servers"),
        ({"servers": "a:1", "pull": {"tokens": TOKEN}}, "`pull` has no effect with `balance: round_robin`"),
        ({"balance": "pull", "pull": {"tokens": TOKEN}, "health": "/up"}, "`health` has no effect"),
        ({"balance": "pull", "pull": {"tokens": TOKEN}, "protocol": "h2"}, "`protocol: h2` has no effect"),
        ({"balance": "pull", "pull": {"tokens": TOKEN, "fair_by": "x-user"}}, "is not a valid fair_by"),
        ({"balance": "pull", "pull": {"tokens": TOKEN, "fair_by": "header:a b"}}, "a b"),
        (
            {"balance": "pull", "pull": {"tokens": TOKEN, "shared": {"redis": "x:1", "list": "a"}}},
            "not a Redis URL",
        ),
        (
            {"balance": "pull", "pull": {"tokens": TOKEN, "shared": {"redis": "redis://h", "list": "a b"}}},
            "shared.list` cannot be `a b`",
        ),
        (
            {
                "balance": "pull",
                "pull": {"tokens": TOKEN, "queue": 0, "shared": {"redis": "redis://h", "list": "a"}},
            },
            "`queue: 0` does not go with `shared`",
        ),
    ],
)
def test_what_does_not_fit_is_refused(upstream: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(upstream)
    assert problem in str(raised.value)


def test_upstream_that_pulls_reads_back_as_it_is_shown() -> None:
    upstream = parsed({"balance": "pull", "pull": {"tokens": TOKEN}}).upstreams["jobs"]
    shown = upstream.model_dump(mode="json")
    shown["pull"]["tokens"] = [TOKEN]
    assert type(upstream).parse(shown) == upstream


def test_plan_has_the_limits_and_fields_of_the_upstream() -> None:
    config = parsed(
        {
            "balance": "pull",
            "pull": {
                "tokens": TOKEN,
                "fair_by": "header:X-User",
                "priority": "Priority",
                "wait": 5,
                "ping": 30,
            },
            "timeouts": {"upstream_head": 7, "upstream_idle": 9},
            "deadline": {"header": "X-Deadline"},
        }
    )
    plan = dispatch_plan(config, Path("/etc/headgate"))
    assert plan is not None
    (queue,) = plan["queues"]
    settings = queue["settings"]
    assert (settings["fair_by"], settings["priority"], settings["deadline"]) == (
        "header:x-user",
        "priority",
        "x-deadline",
    )
    assert (settings["wait"], settings["timeout"], settings["ping"]) == (5, 7, 3)
    # the engine waits for as long as the dispatcher may need
    assert pull_limits(config.upstreams["jobs"], config.timeouts)[1] > 2 * (5 + 7)


def test_same_upstream_of_another_file_has_another_socket() -> None:
    config = parsed({"balance": "pull", "pull": {"tokens": TOKEN}})
    one, other = (dispatch_plan(config, Path(file)) for file in ("/etc/a.py", "/etc/b.py"))
    assert one is not None and other is not None
    assert one["queues"][0]["socket"] != other["queues"][0]["socket"]


def test_two_files_of_a_folder_have_sockets_of_their_own(tmp_path: Path) -> None:
    upstreams = {"jobs": {"balance": "pull", "pull": {"tokens": "0123456789abcdef"}}}
    text = json.dumps({"listeners": ":8080", "upstreams": upstreams, "routes": [{"path": "/", "to": "jobs"}]})
    sockets = []
    for name in ("one.json", "other.json"):
        (tmp_path / name).write_text(text)
        loaded = compiled(load(tmp_path / name))
        (upstream,) = json.loads(loaded.snapshot)["upstreams"]
        (server,) = upstream["servers"]
        # workers and the dispatcher mean the same one
        assert server["address"] == f"unix:{loaded.plans['dispatcher']['queues'][0]['socket']}"
        sockets.append(server["address"])
    assert sockets[0] != sockets[1]


def test_turns_of_clients_need_a_field_that_they_cannot_write(tmp_path: Path) -> None:
    pull: dict[str, Any] = {"balance": "pull", "pull": {"tokens": TOKEN, "fair_by": "client"}}
    with pytest.raises(ConfigError, match="which clients would write themselves"):
        parsed(pull, forwarding={"x_forwarded": False})
    assert dispatch_plan(parsed(pull), tmp_path)
    pull["pull"] = {"tokens": TOKEN, "fair_by": "header:x-user"}
    assert parsed(pull, forwarding={"x_forwarded": False})


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://h:99999/0", "not a Redis URL"),
        ("redis://h:x/0", "not a Redis URL"),
        ("redis://h:0", "not a Redis URL"),
        ("redis://[h/0", "not a Redis URL"),
        ("redis://h/0#x", "not a Redis URL"),
        ("redis://h/jobs", "the database of the Redis is not a number"),
        ("redis://h?db=jobs", "the database of the Redis is not a number"),
        ("redis://h?timeout=1", "`timeout` is not an option"),
        ("redis://h?decode_responses=false", "`decode_responses` is not an option"),
        ("redis://h?ssl_ca_certs=/x", "`ssl_ca_certs` is not an option"),
        ("rediss://h?ssl_foo=1", "`ssl_foo` is not an option"),
    ],
)
def test_urls_of_redis_that_would_fail_when_it_connects_are_refused(url: str, problem: str) -> None:
    shared = {"redis": url, "list": "jobs"}
    with pytest.raises(ConfigError, match=problem) as refused:
        parsed({"balance": "pull", "pull": {"tokens": TOKEN, "shared": shared}})
    assert "hint: " in str(refused.value)
    with pytest.raises(ValueError, match=problem):
        Worker("http://gateway/", token=TOKEN, redis=url, shared_list="jobs")


@pytest.mark.parametrize(
    "url",
    ["redis://h", "redis://u:p@[::1]:6379/3", "redis://h?db=2", "rediss://h/0?ssl_ca_certs=/x&db=1"],
)
def test_urls_of_redis_with_a_database_and_options_of_tls_are_taken(url: str) -> None:
    shared = {"redis": url, "list": "jobs"}
    parsed({"balance": "pull", "pull": {"tokens": TOKEN, "shared": shared}})
    Worker("http://gateway/", token=TOKEN, redis=url, shared_list="jobs")


@pytest.mark.parametrize("key", ["tcp", "udp", "tls_routes"])
def test_only_routes_of_http_lead_to_workers(key: str) -> None:
    jobs = {"balance": "pull", "pull": {"tokens": TOKEN}}
    one = {"to": "jobs", **({"host": "a.example"} if key == "tls_routes" else {"address": ":9000"})}
    with pytest.raises(ConfigError, match="the workers of `jobs` take HTTP requests") as refused:
        parsed(jobs, **{key: [one]})
    assert "hint: send to it from `routes`" in str(refused.value)


def test_two_upstreams_do_not_take_from_one_list() -> None:
    def upstream(name: str) -> dict[str, Any]:
        shared = {"redis": "redis://h", "list": name}
        return {"balance": "pull", "pull": {"tokens": TOKEN, "shared": shared}}

    GatewayConfig.parse({"upstreams": {"a": upstream("a"), "b": upstream("b")}})
    with pytest.raises(ConfigError, match="`a` and `b` have the same list of workers `x`") as refused:
        GatewayConfig.parse({"upstreams": {"a": upstream("x"), "b": upstream("x")}})
    assert "hint: " in str(refused.value)
