"""mqtt-routing between real clients (paho) and real brokers (Mosquitto), and clients that are none."""

import random
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve, eventually, free_port
from e2e.kit.scanners import mosquitto, program
from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv31, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from headgate.plugins import _mqtt as packets

pytestmark = pytest.mark.skipif(
    not (program("mosquitto") and shutil.which("mosquitto_passwd")),
    reason="needs mosquitto; hint: `make services`",
)


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(mosquitto(tmp_path_factory.mktemp(name), password=name == "closed"))
            for name in ("a", "b", "closed")
        }


def gateway_with(serve: Serve, port: int, **config: Any) -> RunningGateway:
    document = {
        "routes": [{"path": "/", "respond": "ok"}],
        "tcp": [{"name": "mqtt", "address": f"127.0.0.1:{port}", "to": "127.0.0.1:1"}],
        "plugins": [{"plugin": "mqtt-routing", "on": "mqtt", "config": config}],
    }
    return serve(document, workers=2)


class Device:
    """A client that hears what is published at `t`."""

    def __init__(self, port: int, client_id: str, version: int = MQTTv311, **login: str) -> None:
        self.heard: list[bytes] = []
        self.reasons: list[str] = []
        self.client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=version)
        self.client.on_message = self._heard
        self.client.on_connect = self._connected
        if login:
            self.client.username_pw_set(**login)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _connected(self, client: Client, data: Any, flags: Any, reason: Any, more: Any) -> None:
        self.reasons.append(str(reason))
        if not reason.is_failure:
            client.subscribe("t/#", qos=1)

    def _heard(self, client: Client, data: Any, message: MQTTMessage) -> None:
        self.heard.append(message.payload)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def published(port: int, body: bytes) -> None:
    """Publishes at a broker itself."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish("t/x", body, qos=1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def at(name: str, brokers: dict[str, int]) -> list[str]:
    return [f"127.0.0.1:{brokers[name]}"]


def is_at(device: Device, brokers: dict[str, int]) -> str:
    """At which broker a device is: what it hears of what all are sent."""

    def hears() -> bool:
        for name in ("a", "b"):
            published(brokers[name], name.encode())
        return bool(device.heard)

    eventually(hears, "the device hears something", within=30)
    return device.heard[0].decode()


@pytest.mark.parametrize("version", [MQTTv31, MQTTv311, MQTTv5])
def test_clients_go_to_the_broker_of_their_id(serve: Serve, brokers: dict[str, int], version: int) -> None:
    port = free_port()
    rules = [{"match": "sensor-*", "to": at("a", brokers)}, {"match": "~^[0-9]+$", "to": at("b", brokers)}]
    gateway_with(serve, port, rules=rules)
    devices = [Device(port, name, version) for name in ("sensor-7", "12345")]
    try:
        eventually(lambda: all(one.reasons == ["Success"] for one in devices), "both are let in")
        assert [is_at(one, brokers) for one in devices] == ["a", "b"]
    finally:
        for one in devices:
            one.close()


def test_large_messages_pass_both_ways(serve: Serve, brokers: dict[str, int]) -> None:
    port = free_port()
    gateway_with(serve, port, to=at("a", brokers))
    device, body = Device(port, "x"), random.Random(5).randbytes(1_000_000)
    try:
        eventually(lambda: device.reasons == ["Success"], "it is let in")
        published(brokers["a"], body)
        device.client.publish("t/back", body[::-1], qos=1).wait_for_publish(10)
        eventually(lambda: len(device.heard) == 2, "both messages came")
        assert sorted(device.heard) == sorted([body, body[::-1]])
    finally:
        device.close()


def test_the_same_client_gets_the_same_broker_and_the_next_if_that_is_away(
    serve: Serve, brokers: dict[str, int]
) -> None:
    port, away = free_port(), f"127.0.0.1:{free_port()}"
    gateway = gateway_with(serve, port, to=[away, *at("a", brokers)])
    devices = [Device(port, f"device-{number}") for number in range(6)]
    try:
        eventually(lambda: all(one.reasons == ["Success"] for one in devices), "all are let in")
    finally:
        for one in devices:
            one.close()
    gateway.wait_for_log("a broker cannot be reached")


def test_who_has_no_broker_is_told_so(serve: Serve, brokers: dict[str, int]) -> None:
    port = free_port()
    away = [f"127.0.0.1:{free_port()}"]
    gateway_with(serve, port, rules=[{"match": "b*", "to": at("a", brokers)}, {"match": "away", "to": away}])
    for client_id, version, code in (
        ("x", 4, b"\x20\x02\x00\x05"),
        ("x", 5, b"\x20\x03\x00\x87\x00"),
        ("away", 4, b"\x20\x02\x00\x03"),
        ("away", 5, b"\x20\x03\x00\x88\x00"),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(connect(client_id, version))
            assert everything(raw) == code


def test_a_topic_chooses_the_broker_which_decides_on_the_password(
    serve: Serve, brokers: dict[str, int]
) -> None:
    port = free_port()
    rules = [{"match": "t/#", "to": at("closed", brokers)}, {"match": "u/*", "to": at("a", brokers)}]
    gateway = gateway_with(serve, port, by="topic", rules=rules)
    good = Device(port, "good", username="ann", password="hush")
    bad = Device(port, "bad", username="ann", password="wrong")
    try:
        eventually(lambda: good.reasons == ["Success"], "it is let in")
        good.client.publish("t/x", b"mine", qos=1).wait_for_publish(10)
        eventually(lambda: good.heard == [b"mine"], "it hears itself")
        eventually(lambda: len(bad.reasons) > 1, "the other one is cut off, and tries again")
        assert bad.heard == []
    finally:
        good.close()
        bad.close()
    assert gateway.process.poll() is None


def connect(client_id: str = "x", version: int = 4) -> bytes:
    name = client_id.encode()
    body = b"\0\4MQTT" + bytes((version, 2, 0, 60)) + b"\0" * (version == 5)
    return packets.packet(0x10, body + len(name).to_bytes(2, "big") + name)


def everything(raw: socket.socket) -> bytes:
    found = b""
    try:
        while more := raw.recv(65536):
            found += more
    except ConnectionResetError:
        pass
    return found


def test_what_is_not_mqtt_reaches_no_broker_and_harms_nobody(
    serve: Serve, brokers: dict[str, int], tmp_path: Path
) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as recorder:
        recorder.settimeout(0.5)
        broker = f"127.0.0.1:{recorder.getsockname()[1]}"
        gateway_with(serve, port, to=[broker], timeout=1, max_packet_bytes=1000)
        chance, whole = random.Random(11), connect("sensor")
        hostile = [
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x10\xff\xff\xff\xff\x7f",
            b"\x10\xff\xff\xff\x7f",
            b"\x30\x05\0\1aaa",
            b"\x10\x00",
            whole[:-1],
            connect("x" * 2000),
            b"",
            b"\x16\x03\x01\x02\x00",
        ]
        hostile += [
            bytes(byte ^ (chance.random() < 0.2) * chance.randrange(1, 256) for byte in whole[:9]) + b"\xff"
            for _ in range(40)
        ]
        for data in hostile:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
                raw.sendall(data)
                if data in (b"", whole[:-1]):
                    pass  # late: it is cut off by the time limit
                else:
                    raw.shutdown(socket.SHUT_WR)
                assert everything(raw)[:1] in (b"", b"\x20")
        with pytest.raises(TimeoutError):
            recorder.accept()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(whole)
            side, _ = recorder.accept()
            with side:
                side.settimeout(10)
                assert side.recv(100) == whole
