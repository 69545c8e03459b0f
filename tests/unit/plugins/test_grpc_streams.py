"""grpc-transcode: what a service streams arrives as it comes, and services are asked for their descriptors."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from e2e.kit.grpc_server import grpc_server
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection
from unit.plugins.shop import adder, descriptors

from headgate import ConfigError, Gateway
from headgate.plugins import GrpcTranscode
from headgate.testing import TestGateway, TestResponse

SERVER = "server.test:80"
EVENTS = {"accept": "text/event-stream"}


@contextmanager
def running(add: Any, folder: Path | None = None, **settings: Any) -> Iterator[TestGateway]:
    if folder is not None:
        (folder / "shop.pb").write_bytes(descriptors().SerializeToString())
        settings["descriptors"] = str(folder / "shop.pb")
    with grpc_server(add) as url:
        gate = Gateway()
        gate.route("/", to=SERVER)
        gate.use(GrpcTranscode(url=url, **settings))
        with TestGateway(gate, upstreams={SERVER: "other"}) as gateway:
            yield gateway


def call(name: str, message: Any, context: Any) -> Any:
    return message


def watch(gateway: TestGateway, headers: Any = ()) -> TestResponse:
    fields = {"content-type": "application/json", **dict(headers)}
    return gateway.post("/shop.Shop/Watch", '{"name": "a"}', fields)


def counted(message: Any, context: Any) -> Iterator[Any]:
    for number in range(3):
        message.id = number + 1
        message.book.page_count = 9007199254740993
        yield message


def test_messages_are_lines(tmp_path: Path) -> None:
    with running(adder(call, counted), tmp_path) as gateway:
        response = watch(gateway)
    assert (response.status, response.headers["content-type"]) == (200, "application/x-ndjson")
    book = {"pageCount": "9007199254740993"}
    assert [json.loads(line) for line in response.text.splitlines()] == [
        {"result": {"name": "a", "id": number, "book": book}} for number in (1, 2, 3)
    ]


def test_messages_are_events_where_the_client_prefers_them(tmp_path: Path) -> None:
    with running(adder(call, counted), tmp_path) as gateway:
        response = watch(gateway, EVENTS)
        lines = watch(gateway, {"accept": "*/*"})
    assert (
        response.headers["content-type"] == "text/event-stream"
        and response.headers["cache-control"] == "no-store"
    )
    events = response.text.split("\n\n")
    assert [json.loads(one.removeprefix("data: "))["id"] for one in events[:3]] == [1, 2, 3] and events[
        3:
    ] == [""]
    assert lines.headers["content-type"] == "application/x-ndjson"


def test_a_stream_of_nothing_is_an_empty_body(tmp_path: Path) -> None:
    with running(adder(call, lambda message, context: iter([])), tmp_path) as gateway:
        response = watch(gateway)
    assert (response.status, response.body) == (200, b"")


def test_an_error_that_comes_at_once_has_its_status(tmp_path: Path) -> None:
    def refused(message: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode.NOT_FOUND, "none")

    with running(adder(call, refused), tmp_path) as gateway:
        response = watch(gateway)
    assert (response.status, response.json()) == (404, {"code": 5, "message": "none", "details": []})


def broken(message: Any, context: Any) -> Iterator[Any]:
    yield message
    context.abort(grpc.StatusCode.ABORTED, "a\nb")


def test_an_error_after_the_first_message_is_the_last_line(tmp_path: Path) -> None:
    with running(adder(call, broken), tmp_path) as gateway:
        lines = watch(gateway).text.splitlines()
        events = watch(gateway, EVENTS).text
    error = {"code": 10, "message": "a\nb", "details": []}
    assert [json.loads(line) for line in lines] == [{"result": {"name": "a"}}, {"error": error}]
    _, last, end = events.split("\n\n")
    assert (
        last.startswith("event: error\ndata: ")
        and json.loads(last.partition("data: ")[2]) == error
        and end == ""
    )


def test_a_quiet_stream_begins_and_ends_with_its_client(tmp_path: Path) -> None:
    ended, begun = threading.Event(), threading.Event()

    def quiet(message: Any, context: Any) -> Iterator[Any]:
        context.add_callback(ended.set)
        begun.set()
        ended.wait(30)
        yield from ()

    with running(adder(call, quiet), tmp_path) as gateway:
        fields = {"content-type": "application/json"}
        pending = gateway.start("POST", "/shop.Shop/Watch", fields, body="{}")
        gateway.until(begun.is_set)
        pending.leave()
        gateway.until(ended.is_set)


def test_a_stream_that_takes_too_long_ends_with_an_error(tmp_path: Path) -> None:
    def slow(message: Any, context: Any) -> Iterator[Any]:
        yield message
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(30)

    with running(adder(call, slow), tmp_path, stream_timeout=1) as gateway:
        last = json.loads(watch(gateway).text.splitlines()[-1])
    assert last["error"]["code"] == 4


def test_a_message_that_is_too_large_is_an_error(tmp_path: Path) -> None:
    def large(message: Any, context: Any) -> Iterator[Any]:
        yield message
        message.name = "x" * 2000
        yield message

    with running(adder(call, large), tmp_path, max_body_bytes=1000) as gateway:
        first, last = map(json.loads, watch(gateway).text.splitlines())
    assert first == {"result": {"name": "a"}} and last["error"]["code"] == 8


def reflecting(server: Any) -> None:
    from google.api import annotations_pb2, http_pb2

    pool = descriptor_pool.DescriptorPool()
    for module in (descriptor_pb2, http_pb2, annotations_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = descriptors().file[0]
    file.dependency.append(annotations_pb2.DESCRIPTOR.name)
    pool.AddSerializedFile(file.SerializeToString())
    adder(call, counted)(server)
    reflection.enable_server_reflection(("shop.Shop", reflection.SERVICE_NAME), server, pool)


@pytest.mark.parametrize("services", [[], ["shop.Shop"]])
def test_a_service_describes_itself(services: list[str]) -> None:
    with running(reflecting, reflection=True, services=services) as gateway:
        response = gateway.get("/v1/shelves/a/books/7")
        assert response.json() == {"name": "shelves/a", "id": 7}
        assert len(watch(gateway).text.splitlines()) == 3
        assert gateway.get("/").text == "other"
        assert gateway.get("/v1/books:find?colour=red").status == 400


@pytest.mark.parametrize("add", [adder(call), reflecting])
def test_a_service_that_does_not_describe_what_is_wanted_is_a_503(add: Any) -> None:
    with running(add, reflection=True, services=["shop.None"]) as gateway:
        for _ in range(3):
            response = gateway.get("/v1/shelves/a/books/7")
            assert (response.status, response.json()["code"]) == (503, 14)


def test_a_service_that_was_away_is_asked_again() -> None:
    gate = Gateway()
    gate.route("/", to=SERVER)
    with grpc_server(reflecting) as url:
        pass  # its port is free again
    gate.use(GrpcTranscode(url=url, reflection=True, timeout=1))
    with TestGateway(gate, upstreams={SERVER: "other"}) as gateway:
        assert gateway.get("/").status == 503
        with grpc_server(reflecting, url.removeprefix("grpc://")):
            gateway.until(lambda: gateway.get("/").text == "other")


@pytest.mark.parametrize("settings", [{}, {"descriptors": "/none", "reflection": True}])
def test_descriptors_come_from_one_place(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        GrpcTranscode(url="grpc://a:1", **settings)
