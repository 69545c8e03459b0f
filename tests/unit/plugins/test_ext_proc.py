"""ext-proc: what a real service over gRPC sees and changes, what it may not, and services that are away."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from e2e.kit.grpc_server import grpc_server
from envoy.service.ext_proc.v3 import external_processor_pb2 as messages
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as services
from google.protobuf import json_format

from headgate import ConfigError, Gateway, Response
from headgate.plugins import ExtProc
from headgate.testing import TestGateway

SERVER = "server.test:80"
Process = Callable[[Any, Any], Any]


class Processor(services.ExternalProcessorServicer):
    """Replies to each part as a table says, or with no change."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.seen: list[tuple[str, Any]] = []
        self.ended = 0

    def Process(self, parts: Iterator[Any], context: Any) -> Iterator[Any]:
        for part in parts:
            kind = part.WhichOneof("request")
            self.seen.append((kind, getattr(part, kind)))
            said = self.said.get(kind, {kind: {}})
            if said is None:
                return
            if callable(said):
                said = said(context)
            yield json_format.ParseDict(said, messages.ProcessingResponse())
        self.ended += 1


@contextmanager
def running(
    said: dict[str, Any], server: Any = "ok", **settings: Any
) -> Iterator[tuple[TestGateway, Processor]]:
    processor = Processor(said)
    with grpc_server(lambda one: services.add_ExternalProcessorServicer_to_server(processor, one)) as url:
        gate = Gateway()
        gate.route("/", to=SERVER)
        gate.use(ExtProc(grpc=url, **{"timeout": 5, **settings}))
        with TestGateway(gate, upstreams={SERVER: server}) as gateway:
            yield gateway, processor


def fields(headers: Any) -> dict[str, bytes]:
    return {one.key: one.raw_value for one in headers.headers}


def option(key: str, value: str, **more: Any) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, **more}


def changed(kind: str, sets: Any = (), removes: Any = (), **more: Any) -> dict[str, Any]:
    mutation = {"setHeaders": list(sets), "removeHeaders": list(removes)}
    return {kind: {kind: {"response": {"headerMutation": mutation, **more}}}}


def test_heads_are_seen_and_the_stream_is_ended() -> None:
    with running({}, Response(404, "no", headers=[("x-b", "2")])) as (gateway, processor):
        assert gateway.request("PUT", "/a?b", {"X-A": "1", "Host": "site.example"}, body="x").status == 404
        gateway.until(lambda: processor.ended == 1)
    (first, head), (second, end) = processor.seen
    assert (first, second) == ("request_headers", "response_headers")
    seen = fields(head.headers)
    assert {
        ":method": b"PUT",
        ":path": b"/a?b",
        ":authority": b"site.example",
        "x-a": b"1",
    }.items() <= seen.items()
    assert not head.end_of_stream
    assert {":status": b"404", "x-b": b"2"}.items() <= fields(end.headers).items()


def test_fields_path_method_and_status_are_changed() -> None:
    said = {
        **changed(
            "request_headers",
            [
                option("x-user", "alice"),
                option("x-a", "2", append=True),
                option(":path", "/new?x"),
                option(":method", "POST"),
                option("host", "evil.example"),
            ],
            ["x-gone", "host", "content-length"],
        ),
        **changed("response_headers", [option(":status", "201"), option("x-c", "3")], ["x-b"]),
    }
    with running(said, Response(200, "ok", headers=[("x-b", "2")]), owned=["x-user"]) as (gateway, _):
        response = gateway.get("/a", {"x-user": "admin", "x-a": "1", "x-gone": "1", "host": "site.example"})
        received = gateway.received[0]
    assert (response.status, response.headers["x-c"], "x-b" in response.headers) == (201, "3", False)
    assert (received.method, received.target) == ("POST", "/new?x")
    assert received.headers["host"] == "site.example"
    assert received.headers.get_all("x-a") == ["1", "2"]
    assert received.headers.get_all("x-user") == ["alice"]
    assert "x-gone" not in received.headers


def test_a_client_cannot_say_what_the_service_leaves_out() -> None:
    with running({}, owned=["x-user"]) as (gateway, _):
        gateway.get("/", {"X_User": "admin"})
        assert not {"x-user", "x_user"} & set(gateway.received[0].headers)


def test_bodies_are_seen_and_replaced() -> None:
    said = {
        **changed("request_body", [option("x-seen", "yes")], bodyMutation={"body": "bmV3"}),
        **changed("response_body", [option("x-seen", "yes")], bodyMutation={"body": "b3RoZXI="}),
    }
    with running(said, "old response", request_body=True, response_body=True) as (gateway, processor):
        response = gateway.request("POST", "/", body="old request")
        received = gateway.received[0]
    assert (received.body, received.headers["x-seen"]) == (b"new", "yes")
    assert (response.text, response.headers["x-seen"]) == ("other", "yes")
    assert [(kind, getattr(part, "body", None)) for kind, part in processor.seen] == [
        ("request_headers", None),
        ("request_body", b"old request"),
        ("response_headers", None),
        ("response_body", b"old response"),
    ]


def test_a_request_without_a_body_says_so() -> None:
    with running({}, request_body=True) as (gateway, processor):
        gateway.request("DELETE", "/")
        gateway.request("DELETE", "/", body="x")
    kinds = [(kind, part.end_of_stream) for kind, part in processor.seen if kind.startswith("request")]
    assert kinds == [("request_headers", True), ("request_headers", False), ("request_body", True)]


def test_a_body_is_cleared() -> None:
    with running(changed("request_body", bodyMutation={"clearBody": True}), request_body=True) as (
        gateway,
        _,
    ):
        gateway.request("POST", "/", body="x")
        assert gateway.received[0].body == b""


IMMEDIATE = {
    "immediateResponse": {
        "status": {"code": 429},
        "headers": {"setHeaders": [option("retry-after", "5")]},
        "body": "c2xvdw==",
    }
}


@pytest.mark.parametrize("kind", ["request_headers", "request_body", "response_headers", "response_body"])
def test_the_service_replies_itself(kind: str) -> None:
    with running({kind: IMMEDIATE}, request_body=True, response_body=True) as (gateway, processor):
        response = gateway.request("POST", "/", body="x")
        assert (response.status, response.headers["retry-after"], response.text) == (429, "5", "slow")
        assert processor.seen[-1][0] == kind
        assert bool(gateway.received) == kind.startswith("response")


def test_a_service_that_has_seen_enough_is_left_alone() -> None:
    with running({"request_headers": None}, request_body=True) as (gateway, processor):
        assert gateway.request("POST", "/", body="x").status == 200
        assert [kind for kind, _ in processor.seen] == ["request_headers"]


@pytest.mark.parametrize(
    "said",
    [
        {"requestBody": {}},
        {"requestHeaders": {"response": {"headerMutation": {"setHeaders": [option("a b", "c")]}}}},
        {"requestHeaders": {"response": {"headerMutation": {"setHeaders": [option("a", "b\r\nc: d")]}}}},
        {"requestHeaders": {"response": {"headerMutation": {"setHeaders": [option("content-length", "9")]}}}},
        {"requestHeaders": {"response": {"headerMutation": {"setHeaders": [option(":path", "x y")]}}}},
        {"requestHeaders": {"response": {"headerMutation": {"setHeaders": [option(":status", "200")]}}}},
        {"requestHeaders": {"response": {"headerMutation": {"setHeaders": [option(":scheme", "https")]}}}},
        {"requestHeaders": {"response": {"bodyMutation": {"streamedResponse": {"body": "eA=="}}}}},
        {"immediateResponse": {"status": {"code": 0}, "headers": {"setHeaders": [option("te", "x")]}}},
        lambda context: context.abort(grpc.StatusCode.INTERNAL, "no"),
        lambda context: time.sleep(1.5),
    ],
)
@pytest.mark.parametrize(("when_away", "status"), [("closed", 503), ("open", 200)])
def test_what_is_not_valid_is_away(said: Any, when_away: str, status: int) -> None:
    with running({"request_headers": said}, when_away=when_away, timeout=1) as (gateway, _):
        assert gateway.get("/").status == status
        assert len(gateway.received) == (status == 200)


def test_a_service_that_is_not_there_is_away() -> None:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(ExtProc(grpc="grpc://127.0.0.1:1", timeout=0.5))
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        assert gateway.get("/").status == 503


def test_bodies_are_bounded() -> None:
    with running({}, "x" * 11, request_body=True, response_body=True, max_body_bytes=10) as (
        gateway,
        processor,
    ):
        assert gateway.request("POST", "/", body="x" * 11).status == 413
        assert gateway.get("/").status == 502
        assert {kind for kind, _ in processor.seen} == {"request_headers", "response_headers"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"grpc": "http://a:1"},
        {"grpc": "grpc://a:1", "x": 1},
        *(
            {"grpc": "grpc://a:1", "owned": [name]}
            for name in ("host", "x user", "x\n", "", "Content-Length")
        ),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Gateway().use(ExtProc(**settings))
