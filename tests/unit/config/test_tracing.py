"""The collector's URL as people write it."""

import pytest

from headgate import Gateway
from headgate.config.errors import ConfigError


@pytest.mark.parametrize("url", ["http://c:4318", "https://c/otlp/", "http://c:4318/v1/traces/more"])
def test_the_base_of_a_collector_is_taken(url: str) -> None:
    Gateway().tracing(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://c:4318/v1/traces", "write `http://c:4318`"),
        ("https://c/otlp/v1/traces/", "write `https://c/otlp`"),
        ("c:4318", "is not the URL of a collector"),
        ("grpc://c:4317", "is not the URL of a collector"),
    ],
)
def test_what_would_send_spans_nowhere_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Gateway().tracing(url)
