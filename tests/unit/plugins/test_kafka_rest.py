"""kafka-rest: settings; everything else is tested with a real Kafka."""

from typing import Any

import pytest

from headgate import ConfigError, Gateway
from headgate.plugins import KafkaRest
from headgate.testing import TestGateway

GOOD: dict[str, Any] = {"servers": ["127.0.0.1:1"], "produce": ["a"]}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"servers": []}, "servers"),
        ({"servers": ["broker"]}, "is not the address of a broker"),
        ({"servers": ["a:9092,b:9092"]}, "is not the address of a broker"),
        ({"produce": []}, "there are no topics"),
        ({"produce": ["a/b"]}, "is not a valid name of a topic"),
        ({"consume": [".."]}, "is not a valid name of a topic"),
        ({"consume": ["x" * 250]}, "is not a valid name of a topic"),
        ({"ca": "/x"}, "`ca` is of no use without TLS"),
        ({"sasl": "GSSAPI"}, "sasl"),
        ({"prefix": "topics"}, "prefix"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        KafkaRest(**{**GOOD, **settings})


def test_a_file_of_authorities_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Gateway().use(KafkaRest(**GOOD, tls=True, ca="/nowhere.pem"))


def test_without_a_broker_the_status_is_503_and_the_log_has_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gateway()
    gate.route("/", respond="ok")
    gate.use(KafkaRest(**GOOD, timeout=1), on="/topics/*")
    with TestGateway(gate) as gateway:
        for _ in range(3):
            response = gateway.post("/topics/a", "x")
            assert (response.status, response.headers["retry-after"]) == (503, "1")
        assert gateway.post("/topics/b", "x").status == 404
        assert gateway.get("/topics/a").status == 405
    assert sum("no broker of Kafka is available" in one.message for one in caplog.records) == 1
