"""What the settings of StatsD refuse."""

import pytest

from headgate.config.errors import ConfigError
from headgate.config.metrics import MetricsConfig


def test_the_address_alone_will_do() -> None:
    statsd = MetricsConfig.parse({"statsd": "collector:8125"}).statsd
    assert statsd is not None
    assert (statsd.to, statsd.interval, statsd.tags, statsd.prefix) == ("collector:8125", 10.0, True, "")


@pytest.mark.parametrize(
    ("statsd", "said"),
    [
        ("collector", "not the address of a StatsD server"),
        ("collector:0", "not the address of a StatsD server"),
        ("collector:65536", "not the address of a StatsD server"),
        ("udp://collector:8125", "not the address of a StatsD server"),
        ({"to": "[::1]:8125", "prefix": "a|b"}, "not a valid prefix"),
        ({"to": "[::1]:8125", "interval": "1ms"}, "the interval is too short"),
    ],
)
def test_what_no_server_can_be_sent_is_refused(statsd: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MetricsConfig.parse({"statsd": statsd})
