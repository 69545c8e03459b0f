"""Log targets as they are written: what they mean, and what is refused with a hint."""

from pathlib import Path
from typing import Any

import pytest

from headgate import Gateway
from headgate.config.errors import ConfigError
from headgate.config.log_targets import destination, shipping_plan
from headgate.config.model import GatewayConfig


@pytest.mark.parametrize(
    ("to", "means"),
    [
        ("http://a/x?y=1", ("http", "http", "a", 80, "/x?y=1")),
        ("https://a", ("http", "https", "a", 443, "/")),
        ("http://[::1]:8080/x", ("http", "http", "::1", 8080, "/x")),
        ("loki:http://loki:3100", ("loki", "http", "loki", 3100, "/loki/api/v1/push")),
        ("loki:https://a/own/push", ("loki", "https", "a", 443, "/own/push")),
        ("tcp://a:1", ("lines", "tcp", "a", 1, "")),
        ("tls://a:1", ("lines", "tls", "a", 1, "")),
        ("udp://a:1", ("lines", "udp", "a", 1, "")),
        ("syslog:/dev/log", ("syslog", "unix", "", 0, "/dev/log")),
        ("syslog:udp://a:514", ("syslog", "udp", "a", 514, "")),
        ("kafka:tcp://a:9092/logs", ("kafka", "tcp", "a:9092", 0, "logs")),
        ("kafka:tls://a:1,[::1]:2/x.y-z_1", ("kafka", "tls", "a:1,[::1]:2", 0, "x.y-z_1")),
        ("syslog:tls://a:6514", ("syslog", "tls", "a", 6514, "")),
    ],
)
def test_a_target_says_how_and_where(to: str, means: tuple[Any, ...]) -> None:
    assert destination(to) == means


@pytest.mark.parametrize(
    "to",
    [
        *["", "nowhere", "tcp://a", "tcp://a:99999", "tcp://a:1/x", "tcp://:1", "ftp://a:1", "kafka://a:1/x"],
        *[
            "kafka:tcp://a/x",
            "kafka:tcp://a:1",
            "kafka:tcp://a:1/..",
            "kafka:udp://a:1/x",
            "kafka:tcp://a:1/x/y",
        ],
        *["kafka:tcp://a:1,b/x", "kafka:tcp://a:1/x?y", "kafka:tcp:///x"],
        *["syslog:http://a", "syslog:dev/log", "syslog://a:1", "loki:tcp://a:1", "loki:", "udp://a:0"],
        *["http://a/x#y", "http://a /x", "http://a/x\r\nfoo: bar", "http://a/é", "stdout"],
    ],
)
def test_what_is_not_a_target_is_refused_with_the_forms_there_are(to: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid log target") as refused:
        GatewayConfig.parse({"log_targets": [to]})
    assert "loki:http://host:3100" in str(refused.value)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"to": "http://u:pw@a/"}, "has no user and password in its URL"),
        ({"to": "tcp://a:1", "headers": {"a": "b"}}, "`headers` has no effect"),
        ({"to": "http://a", "labels": {"a": "b"}}, "`labels` has no effect"),
        ({"to": "http://a", "ca": "ca.pem"}, "`ca` has no effect"),
        ({"to": "tcp://a:1", "user": "u", "password": "pw"}, "`user` has no effect"),
        ({"to": "kafka:tcp://a:1/x", "user": "u"}, "`user` and `password` belong together"),
        ({"to": "loki:http://a", "labels": {"a-b": "b"}}, "`a-b` is not a valid label"),
        ({"to": "http://a", "headers": {"a b": "b"}}, "`a b` is not a valid header field name"),
        ({"to": "http://a", "headers": {"Content-Length": "1"}}, "is set by the gateway"),
        ({"to": "http://a", "headers": {"a": "x\r\nb: c"}}, "has a line end"),
    ],
)
def test_what_does_not_fit_is_refused(target: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        GatewayConfig.parse({"log_targets": [target]})
    assert "pw" not in str(refused.value)


def test_python_and_a_file_say_the_same(tmp_path: Path) -> None:
    gate = Gateway()
    gate.listen(":8080")
    gate.log_target("tcp://a:1", queue=5)
    gate.log_target("loki:http://a", labels={"site": "x"}, headers={"Authorization": "hush-1"})
    file = GatewayConfig.parse(
        {
            "log_targets": [
                {"to": "tcp://a:1", "queue": 5},
                {"to": "loki:http://a", "labels": {"site": "x"}, "headers": {"Authorization": "hush-1"}},
            ]
        }
    )
    assert gate.config.log_targets == file.log_targets
    plan = shipping_plan(file, tmp_path)
    assert plan and [one["to"] for one in plan["targets"]] == ["tcp://a:1", "loki:http://a"]
    assert plan["targets"][1]["headers"] == {"authorization": "hush-1"}
    assert "hush-1" not in str(file)
    assert shipping_plan(GatewayConfig.parse({"log_targets": "udp://a:1"}), tmp_path)
    assert shipping_plan(GatewayConfig.parse({}), tmp_path) is None


def test_an_authority_that_is_not_there_is_refused(tmp_path: Path) -> None:
    config = GatewayConfig.parse({"log_targets": [{"to": "tls://a:1", "ca": "ca.pem"}]})
    with pytest.raises(ConfigError, match=r"the file `ca\.pem` does not exist"):
        shipping_plan(config, tmp_path)
