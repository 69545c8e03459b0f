"""KEDA's external scaler: a real client of gRPC, made of KEDA's own `externalscaler.proto`, through the gateway."""

import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from e2e.kit import RunningGateway, Serve, eventually, free_port
from e2e.kit.pki import Authority
from e2e.kit.pull import TOKEN, PullWorker, figures
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "externalscaler.ExternalScaler"
# name: [(field, number, kind, repeated or not, message)], as https://github.com/kedacore/keda has them
MESSAGES: dict[str, list[tuple[str, int, str, bool, str]]] = {
    "ScaledObjectRef": [
        ("name", 1, "STRING", False, ""),
        ("namespace", 2, "STRING", False, ""),
        ("scalerMetadata", 3, "MESSAGE", True, "ScaledObjectRef.ScalerMetadataEntry"),
    ],
    "IsActiveResponse": [("result", 1, "BOOL", False, "")],
    "GetMetricSpecResponse": [("metricSpecs", 1, "MESSAGE", True, "MetricSpec")],
    "MetricSpec": [
        ("metricName", 1, "STRING", False, ""),
        ("targetSize", 2, "INT64", False, ""),
        ("targetSizeFloat", 3, "DOUBLE", False, ""),
    ],
    "GetMetricsRequest": [
        ("scaledObjectRef", 1, "MESSAGE", False, "ScaledObjectRef"),
        ("metricName", 2, "STRING", False, ""),
    ],
    "GetMetricsResponse": [("metricValues", 1, "MESSAGE", True, "MetricValue")],
    "MetricValue": [
        ("metricName", 1, "STRING", False, ""),
        ("metricValue", 2, "INT64", False, ""),
        ("metricValueFloat", 3, "DOUBLE", False, ""),
    ],
}


def messages() -> dict[str, Any]:
    """The classes of the messages."""
    file = descriptor_pb2.FileDescriptorProto(
        name="externalscaler.proto", package="externalscaler", syntax="proto3"
    )
    field = descriptor_pb2.FieldDescriptorProto

    def filled(made: Any, fields: list[tuple[str, int, str, bool, str]]) -> None:
        for name, number, kind, is_repeated, type_name in fields:
            made.field.add(
                name=name,
                number=number,
                type=getattr(field, f"TYPE_{kind}"),
                label=field.LABEL_REPEATED if is_repeated else field.LABEL_OPTIONAL,
                type_name=f".externalscaler.{type_name}" if type_name else None,
            )

    for name, fields in MESSAGES.items():
        filled(file.message_type.add(name=name), fields)
    entry = file.message_type[0].nested_type.add(name="ScalerMetadataEntry")
    entry.options.map_entry = True
    filled(entry, [("key", 1, "STRING", False, ""), ("value", 2, "STRING", False, "")])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"externalscaler.{name}"))
        for name in MESSAGES
    }


KINDS = messages()


class Keda:
    """What KEDA asks of a scaler."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def call(self, method: str, response: str, **metadata: str) -> Any:
        """A unary call."""
        asked = KINDS["ScaledObjectRef"](name="o", namespace="n", scalerMetadata=metadata)
        if method == "GetMetrics":
            asked = KINDS["GetMetricsRequest"](scaledObjectRef=asked, metricName="s0-requests")
        function = self._channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=KINDS[response].FromString,
        )
        return function(asked, timeout=20)

    def stream(self, **metadata: str) -> Any:
        """The stream of `StreamIsActive`."""
        function = self._channel.unary_stream(
            f"/{SERVICE}/StreamIsActive",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=KINDS["IsActiveResponse"].FromString,
        )
        return function(KINDS["ScaledObjectRef"](scalerMetadata=metadata), timeout=60)

    @property
    def requests(self) -> float:
        """The metric."""
        (value,) = self.call("GetMetrics", "GetMetricsResponse").metricValues
        assert value.metricName == "requests"
        assert value.metricValue == value.metricValueFloat
        found: float = value.metricValueFloat
        return found


@contextmanager
def keda(address: str) -> Iterator[Keda]:
    with grpc.insecure_channel(address) as channel:
        yield Keda(channel)


def gated(serve: Serve, *, listen: str | None = None, **more: Any) -> RunningGateway:
    pull = {"tokens": TOKEN, "status_path": "/_queue", "keda": True}
    upstreams = {
        "jobs": {"balance": "pull", "pull": pull},
        "others": {"balance": "pull", "pull": {**pull, "queue": 7}},
        "private": {"balance": "pull", "pull": {"tokens": TOKEN}},
    }
    routes = [{"path": "/others", "to": "others"}, {"path": "/*", "to": "jobs"}]
    gateway = serve({"upstreams": upstreams, "routes": routes, **more}, listen=listen)
    eventually(lambda: gateway.get("/_queue").status == 200, "the dispatcher listens")
    return gateway


def asked(gateway: RunningGateway, target: str) -> None:
    threading.Thread(target=lambda: gateway.get(target, timeout=60), daemon=True).start()


def test_what_waits_and_what_runs_is_the_metric(serve: Serve) -> None:
    gateway = gated(serve)
    with keda(gateway.address) as scaler:
        (spec,) = scaler.call("GetMetricSpec", "GetMetricSpecResponse", target="2").metricSpecs
        assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == ("requests", 2, 2.0)
        assert not scaler.call("IsActive", "IsActiveResponse").result
        assert scaler.requests == 0
        for number in range(3):
            asked(gateway, f"/{number}?wait=go")
        eventually(lambda: figures(gateway)["waiting"] == 3, "they wait")
        assert scaler.call("IsActive", "IsActiveResponse").result
        assert not scaler.call("IsActive", "IsActiveResponse", activation="3").result
        assert scaler.requests == 3
        with PullWorker(gateway):
            eventually(lambda: figures(gateway)["running"] == 1, "one has begun")
            assert scaler.requests == 3
            (gateway.folder / "go").touch()
            eventually(lambda: scaler.requests == 0, "all are done")


def test_one_endpoint_tells_of_every_queue_that_may_be_asked_for(serve: Serve) -> None:
    gateway = gated(serve)
    asked(gateway, "/others")
    with keda(gateway.address) as scaler:

        def is_active(upstream: str) -> bool:
            return bool(scaler.call("IsActive", "IsActiveResponse", upstream=upstream).result)

        eventually(lambda: is_active("others"), "a request waits there")
        assert not is_active("jobs")
        for name in ("private", "absent"):
            with pytest.raises(grpc.RpcError) as raised:
                is_active(name)
            assert raised.value.code() == grpc.StatusCode.NOT_FOUND
            assert name in raised.value.details()
        with pytest.raises(grpc.RpcError) as raised:
            scaler.call("IsActive", "IsActiveResponse", target="-1")
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_stream_tells_of_each_change_and_ends_when_the_gateway_stops(serve: Serve) -> None:
    gateway = gated(serve)
    with keda(gateway.address) as scaler:
        stream, told = scaler.stream(), queue.Queue[Any]()

        def read() -> None:
            try:
                for message in stream:
                    told.put(message.result)
            except grpc.RpcError as error:
                told.put(error)

        threading.Thread(target=read, daemon=True).start()
        assert told.get(timeout=20) is False
        asked(gateway, "/x")
        assert told.get(timeout=20) is True
        with PullWorker(gateway):
            assert told.get(timeout=20) is False
        gateway.signal(signal.SIGQUIT)
        ended = told.get(timeout=20)
        assert isinstance(ended, grpc.RpcError) and ended.code() == grpc.StatusCode.UNAVAILABLE
        gateway.process.wait(timeout=20)


def test_it_is_asked_over_tls(serve: Serve, authority: Authority) -> None:
    port, plain = free_port(), f"127.0.0.1:{free_port()}"
    tls = {"address": f"127.0.0.1:{port}", "tls": {"certificates": authority.issue("localhost").files}}
    gated(serve, listeners=[plain, tls], listen=plain)
    trusted = grpc.ssl_channel_credentials(Path(authority.ca).read_bytes())
    with grpc.secure_channel(f"localhost:{port}", trusted) as channel:
        assert not Keda(channel).call("IsActive", "IsActiveResponse").result
