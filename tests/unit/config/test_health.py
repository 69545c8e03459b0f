"""Health checks as they are written, and what is refused."""

from typing import Any

import pytest

from headgate.config.errors import ConfigError
from headgate.config.health import HealthConfig, health_plan


def test_path_is_the_short_form() -> None:
    assert HealthConfig.parse("/healthz?full") == HealthConfig.parse({"path": "/healthz?full"})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"path": "healthz"}, "healthz"),
        ({"type": "redis", "path": "/"}, "`path` has no effect with `type: redis`"),
        ({"expect": "x"}, "`expect` has no effect with `type: http`"),
        ({"type": "python"}, "needs a `function`"),
        ({"type": "python", "function": "module.function"}, "`module.function` is not a function"),
        ({"status": "ok"}, "`ok` is not a status"),
        ({"headers": {"X Y": "1"}}, "`X Y: 1` is not a header field"),
        ({"headers": {"X": "1\r\nY: 2"}}, "is not a header field"),
        ({"interval": "2s", "timeout": "3s"}, "the timeout of 3 s is longer than the interval of 2 s"),
        ({"address": "host:80"}, "host:80"),
    ],
)
def test_what_makes_no_sense_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        HealthConfig.parse(table)
    assert message in str(caught.value)


def test_timeout_is_never_longer_than_the_interval() -> None:
    assert health_plan(HealthConfig.parse({"interval": "300ms"}))["timeout"] == 300
