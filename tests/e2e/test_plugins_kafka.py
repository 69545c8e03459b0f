"""kafka-rest with a real Kafka 4.1: what is produced is read back; skipped only where there is no Java or Maven."""

import asyncio
import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from e2e.kit import RunningGateway, Serve, eventually, free_port
from e2e.kit.client import RawClient
from e2e.kit.kafka import PASSWORD, USER, Kafka, java_and_maven, kafka

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not java_and_maven(), reason="a real Kafka needs Java and Maven"),
]
JSON = ("Content-Type", "application/json")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with kafka(tmp_path_factory.mktemp("kafka")) as running:
        asyncio.run(create(running.port, "parts", 3))
        yield running


async def create(port: int, topic: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}")
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, partitions, 1)])
    finally:
        await admin.close()


def gateway_with(serve: Serve, *servers: int, workers: int = 2, **config: Any) -> RunningGateway:
    use = {
        "plugin": "kafka-rest",
        "on": "/topics/*",
        "config": {"servers": [f"127.0.0.1:{one}" for one in servers], **config},
    }
    return serve({"routes": [{"path": "/", "respond": "ok"}], "plugins": [use]}, workers=workers)


def ask(gateway: RunningGateway, target: str, body: Any = None, *fields: tuple[str, str]) -> tuple[int, Any]:
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    with RawClient(gateway.address, timeout=60) as client:
        response = client.request("GET" if body is None else "POST", target, fields or (JSON,), body=data)
    return response.status, json.loads(response.body)


def stored(port: int, topic: str, count: int) -> list[tuple[bytes | None, bytes | None]]:
    """Keys and values of the first messages of a topic, read past the gateway."""

    async def read() -> list[tuple[bytes | None, bytes | None]]:
        consumer = AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{port}", auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, 0)])
            async with asyncio.timeout(60):
                return [(one.key, one.value) for one in [await consumer.getone() for _ in range(count)]]
        finally:
            await consumer.stop()

    return asyncio.run(read())


def test_messages_are_produced_as_they_were_sent_and_read_back(serve: Serve, broker: Kafka) -> None:
    gateway = gateway_with(serve, broker.port, produce=["one"], consume=["one"])
    raw = b"\xff\x00\xfe"
    records = [
        {"value": "text", "key": "k"},
        {"value": {"n": 1}},
        {"value": base64.b64encode(raw).decode(), "encoding": "base64"},
        {"value": None, "key": "k", "headers": {"a": "\u00fc"}, "partition": 0},
    ]
    status, said = ask(gateway, "/topics/one", {"records": records})
    assert (status, said) == (200, {"records": [{"partition": 0, "offset": n} for n in range(4)]})
    numbers = b'{"records": [{"value": {"a": 1.10, "b": 9007199254740993, "c": 1e400}}]}'
    assert ask(gateway, "/topics/one", numbers)[0] == 200
    assert ask(gateway, "/topics/one", b"plain", ("Content-Type", "text/plain"))[0] == 200
    assert stored(broker.port, "one", 6) == [
        (b"k", b"text"),
        (None, b'{"n":1}'),
        (None, raw),
        (b"k", None),
        (None, b'{"a":1.10,"b":9007199254740993,"c":1e400}'),
        (None, b"plain"),
    ]
    status, said = ask(gateway, "/topics/one?offset=earliest&max=4&wait=5")
    assert (status, said["next"]) == (200, 4)
    values = [(one["offset"], one["key"], one["value"], one.get("encoding")) for one in said["records"]]
    assert values == [
        (0, "k", "text", None),
        (1, None, '{"n":1}', None),
        (2, None, base64.b64encode(raw).decode(), "base64"),
        (3, "k", None, None),
    ]
    assert said["records"][3]["headers"] == {"a": "\u00fc"}
    assert [one["value"] for one in ask(gateway, "/topics/one?offset=5&wait=5")[1]["records"]] == ["plain"]
    assert ask(gateway, "/topics/one?offset=latest")[1] == {"records": [], "next": 6}


def test_who_waits_gets_a_message_when_it_comes(serve: Serve, broker: Kafka) -> None:
    gateway = gateway_with(serve, broker.port, produce=["later"], consume=["later"])
    assert ask(gateway, "/topics/later", {"records": [{"value": "0"}]})[0] == 200
    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(ask, gateway, "/topics/later?offset=1&wait=30") for _ in range(4)]
        assert ask(gateway, "/topics/later", {"records": [{"value": "1"}]})[0] == 200
        found = [one.result()[1]["records"] for one in waiting]
    assert [[one["value"] for one in records] for records in found] == [["1"]] * 4


def test_partitions_are_chosen_and_read_each(serve: Serve, broker: Kafka) -> None:
    gateway = gateway_with(serve, broker.port, produce=["parts"], consume=["parts"])
    records = [{"value": f"v{number}", "partition": number % 3} for number in range(30)]
    assert ask(gateway, "/topics/parts", {"records": records})[0] == 200
    for partition in range(3):
        _, said = ask(gateway, f"/topics/parts?partition={partition}&offset=earliest&wait=5")
        assert [one["value"] for one in said["records"]] == [f"v{n}" for n in range(30) if n % 3 == partition]
    assert ask(gateway, "/topics/parts?partition=9&offset=earliest")[0] == 416
    status, said = ask(
        gateway, "/topics/parts", {"records": [{"value": "x", "partition": 9}, {"value": "y"}]}
    )
    assert status == 502 and "error" in said["records"][0] and "offset" in said["records"][1]


def test_many_workers_and_clients_lose_nothing(serve: Serve, broker: Kafka) -> None:
    gateway = gateway_with(serve, broker.port, produce=["many"], consume=["many"])
    with ThreadPoolExecutor(8) as pool:
        bodies = [{"records": [{"value": f"{n}-{one}"} for one in range(10)]} for n in range(40)]
        assert [one[0] for one in pool.map(lambda body: ask(gateway, "/topics/many", body), bodies)] == [
            200
        ] * 40
    values, at = [], 0
    while at < 400:
        _, said = ask(gateway, f"/topics/many?offset={at}&max=70&wait=5")
        values += [one["value"] for one in said["records"]]
        at = said["next"]
    assert sorted(values) == sorted(f"{n}-{one}" for n in range(40) for one in range(10))


def test_what_is_wrong_is_refused_with_the_reason(serve: Serve, broker: Kafka) -> None:
    gateway = gateway_with(
        serve, broker.port, produce=["one", "w"], consume=["one", "r"], max_records=5, max_body_bytes=100_000
    )
    assert ask(gateway, "/topics/other")[0] == 404
    assert ask(gateway, "/topics/w")[0] == 405 and ask(gateway, "/topics/r", {})[0] == 405
    for query in (
        "offset=x",
        "offset=-1",
        "partition=x",
        "max=99999",
        "wait=3600",
        "offset=99999999999999999999",
    ):
        assert ask(gateway, f"/topics/one?{query}")[0] == 400, query
    assert ask(gateway, "/topics/one?offset=123456")[0] == 416
    for body, status in (
        ({}, 400),
        ({"records": []}, 400),
        ({"records": [{}]}, 400),
        ({"records": [{"value": "x", "topic": "y"}]}, 400),
        ({"records": [{"value": "x", "partition": True}]}, 400),
        ({"records": [{"value": "x", "partition": -1}]}, 400),
        ({"records": [{"value": "x", "encoding": "hex"}]}, 400),
        ({"records": [{"value": "!", "encoding": "base64"}]}, 400),
        ({"records": [{"value": "x", "headers": {"a": 1}}]}, 400),
        ({"records": [{"value": "x"}] * 6}, 413),
        (b"[" * 1000, 400),
        (b'{"records": [{"value": NaN}]}', 400),
        (b"x" * 200_000, 413),
    ):
        assert ask(gateway, "/topics/one", body)[0] == status, body
    # the broker of these tests takes no more than 4 KB
    status, said = ask(gateway, "/topics/one", {"records": [{"value": "x" * 9000}]})
    assert (status, said) == (502, {"records": [{"error": "MessageSizeTooLargeError"}]})


def test_a_password_is_shown_and_a_wrong_one_is_told_to_the_log_only(serve: Serve, broker: Kafka) -> None:
    login = {"user": USER, "sasl": "PLAIN", "produce": ["secure"]}
    gateway = gateway_with(serve, broker.sasl_port, password=PASSWORD, **login)
    assert ask(gateway, "/topics/secure", {"records": [{"value": "x"}]})[0] == 200
    gateway = gateway_with(serve, broker.sasl_port, password="wrong-word", **login)
    status, said = ask(gateway, "/topics/secure", {"records": [{"value": "x"}]})
    assert (status, said) == (503, {"error": "no broker is available"})
    gateway.wait_for_log("no broker of Kafka is available")
    assert "wrong-word" not in gateway.log()


def test_a_broker_that_comes_late_is_used_when_it_is_there(serve: Serve, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "kafka").mkdir()
    gateway = gateway_with(serve, port, produce=["x"], consume=["x"], timeout=10, workers=1)
    body = {"records": [{"value": "x"}]}
    for _ in range(2):
        assert ask(gateway, "/topics/x", body)[0] == 503
        assert ask(gateway, "/topics/x?offset=earliest")[0] == 503
    assert gateway.log().count("no broker of Kafka is available") == 1
    with kafka(tmp_path / "kafka", port):
        eventually(lambda: ask(gateway, "/topics/x", body)[0] == 200, "the broker takes messages", within=60)
    assert ask(gateway, "/topics/x", body)[0] == 503
