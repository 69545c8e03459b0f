"""Lines of the log as messages of a topic of a real Kafka; skipped only where there is no Java or Maven."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from e2e.kit import RunningGateway, Serve, eventually, free_port
from e2e.kit.kafka import PASSWORD, USER, Kafka, java_and_maven, kafka
from e2e.kit.metrics import scrape
from e2e.kit.origin import PROBE_PATH
from e2e.kit.pki import Authority

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not java_and_maven(), reason="a real Kafka needs Java and Maven"),
]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with kafka(tmp_path_factory.mktemp("kafka")) as running:
        yield running


def shipping(serve: Serve, **target: Any) -> tuple[RunningGateway, str]:
    address = f"127.0.0.1:{free_port()}"
    targets = [{"flush": "50ms", **target}]
    routes = [{"respond": "ok", "name": "api"}]
    return serve({"routes": routes, "metrics": address, "log_targets": targets}, workers=1), address


def messages(port: int, topic: str, count: int) -> list[bytes]:
    """The first messages of a topic."""

    async def read() -> list[bytes]:
        consumer = AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{port}", auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, 0)])
            async with asyncio.timeout(60):
                return [(await consumer.getone()).value for _ in range(count)]
        finally:
            await consumer.stop()

    return asyncio.run(read())


def targets_of(lines: list[bytes]) -> list[str]:
    found = [json.loads(line)["target"] for line in lines]
    return [target for target in found if not target.startswith(PROBE_PATH)]


def shipped(gateway: RunningGateway, address: str) -> float:
    return scrape(gateway, address).value("headgate_log_shipped_total")


def test_each_line_is_a_message(serve: Serve, broker: Kafka) -> None:
    gateway, address = shipping(serve, to=f"kafka:tcp://127.0.0.1:{broker.port}/each")
    for number in range(20):
        gateway.get(f"/{number}?x=%0A%1B")
    eventually(lambda: shipped(gateway, address) >= 21, "all are shipped", within=60)
    lines = messages(broker.port, "each", int(shipped(gateway, address)))
    assert targets_of(lines) == [f"/{number}?x=%0A%1B" for number in range(20)]


@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
def test_a_password_is_proven(serve: Serve, broker: Kafka, password: str) -> None:
    gateway, address = shipping(
        serve,
        to=f"kafka:tcp://127.0.0.1:{broker.sasl_port}/proven",
        user=USER,
        password=password,
        sasl="plain",
    )
    gateway.get("/in")
    if password == PASSWORD:
        eventually(lambda: shipped(gateway, address) >= 2, "the line is shipped", within=60)
        assert "/in" in targets_of(messages(broker.port, "proven", int(shipped(gateway, address))))
    else:
        eventually(lambda: "is unavailable; lines are kept" in gateway.log(), "it is told", within=60)
        assert shipped(gateway, address) == 0
    assert password not in gateway.log()


@pytest.mark.parametrize("is_known", [True, False], ids=["a user", "nobody"])
def test_lines_come_over_tls_if_the_certificate_is_trusted(
    serve: Serve, broker: Kafka, tmp_path: Path, is_known: bool
) -> None:
    port = broker.sasl_tls_port if is_known else broker.tls_port
    topic = "known" if is_known else "unknown"
    login = {"user": USER, "password": PASSWORD, "sasl": "plain"} if is_known else {}
    to = f"kafka:tls://127.0.0.1:{port}/{topic}"
    gateway, address = shipping(serve, to=to, ca=broker.ca, **login)
    gateway.get("/secret")
    eventually(lambda: shipped(gateway, address) >= 2, "the line is shipped", within=60)
    assert "/secret" in targets_of(messages(broker.port, topic, int(shipped(gateway, address))))
    stranger = Authority(tmp_path / "stranger")
    gateway, address = shipping(serve, to=to, ca=stranger.ca, **login)
    gateway.get("/kept")
    eventually(lambda: "is unavailable; lines are kept" in gateway.log(), "it is told", within=60)
    assert shipped(gateway, address) == 0 and "Traceback" not in gateway.log()


def test_a_line_that_no_broker_takes_is_dropped_and_no_other(serve: Serve, broker: Kafka) -> None:
    gateway, address = shipping(serve, to=f"kafka:tcp://127.0.0.1:{broker.port}/sizes", batch=8)
    for target in ("/a", "/" + "x" * 6000, "/b"):
        gateway.get(target)
    dropped = lambda: scrape(gateway, address).value("headgate_log_dropped_total", reason="too_large")  # noqa: E731
    eventually(lambda: dropped() == 1 and shipped(gateway, address) >= 3, "one is dropped", within=60)
    lines = messages(broker.port, "sizes", int(shipped(gateway, address)))
    assert {"/a", "/b"} == set(targets_of(lines))


def test_lines_wait_for_brokers_that_are_away(serve: Serve, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "kafka").mkdir()
    gateway, address = shipping(
        serve, to=f"kafka:tcp://127.0.0.1:{free_port()},127.0.0.1:{port}/later", timeout="5s"
    )
    gateway.get("/early")
    eventually(lambda: "is unavailable; lines are kept" in gateway.log(), "it is told", within=60)
    with kafka(tmp_path / "kafka", port) as broker:
        eventually(lambda: shipped(gateway, address) >= 2, "all are shipped", within=90)
        assert "/early" in targets_of(messages(broker.port, "later", int(shipped(gateway, address))))
    log = gateway.log()
    assert log.count("is unavailable; lines are kept") == 1 and "is available again" in log
    assert "Traceback" not in log
