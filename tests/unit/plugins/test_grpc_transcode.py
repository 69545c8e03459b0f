"""grpc-transcode: requests become messages and messages JSON, and wrong ones a 400 that names the field."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from e2e.kit.grpc_server import grpc_server
from unit.plugins.shop import adder, descriptors

from headgate import ConfigError, Gateway
from headgate.plugins import GrpcTranscode
from headgate.testing import TestGateway, TestResponse

SERVER = "server.test:80"
EXAMPLE = Path(__file__).parents[3] / "examples" / "plugins" / "shop.pb"


@contextmanager
def running(
    folder: Path, call: Any = lambda name, message, context: message, **settings: Any
) -> Iterator[TestGateway]:
    file = folder / "shop.pb"
    file.write_bytes(descriptors().SerializeToString())
    with grpc_server(adder(call)) as url:
        gate = Gateway()
        gate.route("/", to=SERVER)
        gate.use(GrpcTranscode(url=url, descriptors=str(file), **settings))
        with TestGateway(gate, upstreams={SERVER: "other"}) as gateway:
            yield gateway


def said(response: TestResponse) -> Any:
    assert response.headers["content-type"] == "application/json"
    return json.loads(response.text)


def send(gateway: TestGateway, method: str, target: str, body: Any) -> TestResponse:
    text = body if isinstance(body, str) else json.dumps(body)
    return gateway.request(method, target, {"content-type": "application/json; charset=utf-8"}, body=text)


def test_paths_queries_and_bodies_become_fields(tmp_path: Path) -> None:
    seen = []

    def call(name: str, message: Any, context: Any) -> Any:
        seen.append((name, dict(context.invocation_metadata()).get("authorization")))
        return message

    with running(tmp_path, call, headers=["authorization"]) as gateway:
        response = gateway.get(
            "/v1/shelves/a%20b/books/7?isGift=true&tags=x&tags=y", {"authorization": "Bearer t"}
        )
        assert said(response) == {"name": "shelves/a b", "id": 7, "isGift": True, "tags": ["x", "y"]}
        found = gateway.get(
            "/v1/books:find?kind=AUDIO&book.title=%C3%A4&book.page_count=9007199254740993&is_gift=false"
        )
        assert said(found) == {"kind": "AUDIO", "book": {"title": "ä", "pageCount": "9007199254740993"}}
        put = send(gateway, "PUT", "/v1/books/8?name=n", {"title": "t", "pageCount": 9007199254740993})
        assert said(put) == {"name": "n", "id": 8, "book": {"title": "t", "pageCount": "9007199254740993"}}
        assert said(send(gateway, "POST", "/v1/books", {"book": {"title": "t"}, "id": 1})) == {"title": "t"}
        assert said(send(gateway, "POST", "/shop.Shop/Buy", {"kind": 1})) == {"kind": "AUDIO"}
    assert seen == [("Get", "Bearer t"), ("Find", None), ("Put", None), ("Make", None), ("Buy", None)]


def test_what_is_in_the_path_wins(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        assert said(gateway.get("/v1/shelves/a/books/7?tags=x"))["id"] == 7
        assert gateway.get("/v1/shelves/a/books/7?id=8").status == 400


def test_other_paths_and_methods_go_on_to_the_route(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        for target in (
            "/",
            "/v1/shelves/a/b/books/7",
            "/v1/books",
            "/shop.Shop/Watch",
            "/v1/shelves//books/7",
        ):
            assert gateway.get(target).text == "other"


def test_defaults_are_told_if_wanted(tmp_path: Path) -> None:
    with running(tmp_path, defaults=True) as gateway:
        assert said(send(gateway, "POST", "/shop.Shop/Buy", {})) == {
            "name": "",
            "id": 0,
            "isGift": False,
            "tags": [],
            "kind": "PAPER",
        }


@pytest.mark.parametrize(
    ("method", "target", "body", "named"),
    [
        ("GET", "/v1/books:find?kind=STONE", None, "kind"),
        ("GET", "/v1/books:find?colour=red", None, "colour"),
        ("GET", "/v1/books:find?id=x", None, "id"),
        ("GET", "/v1/books:find?is_gift=maybe", None, "is_gift"),
        ("GET", "/v1/books:find?book.x=1", None, "book.x"),
        ("GET", "/v1/books:find?id.x=1", None, "id.x"),
        ("GET", "/v1/books:find?id=1&id=2", None, "id"),
        ("GET", "/v1/shelves/a/books/x", None, "id"),
        ("PUT", "/v1/books/1", {"colour": 1}, "colour"),
        ("PUT", "/v1/books/1", 5, "book"),
        ("POST", "/shop.Shop/Buy", {"tags": "x"}, "tags"),
        ("POST", "/shop.Shop/Buy", [], "object"),
        ("POST", "/shop.Shop/Buy?id=1", {}, "id"),
        ("POST", "/shop.Shop/Buy", '{"id": 1, "id": 2}', "twice"),
        ("POST", "/shop.Shop/Buy", '{"id": 99999999999}', "id"),
        ("POST", "/shop.Shop/Buy", '{"id": NaN}', "JSON"),
        ("POST", "/shop.Shop/Buy", "[" * 100_000, "deep"),
    ],
)
def test_wrong_requests_get_400_that_names_the_field(
    tmp_path: Path, method: str, target: str, body: Any, named: str
) -> None:
    with running(tmp_path) as gateway:
        response = gateway.get(target) if body is None else send(gateway, method, target, body)
        assert response.status == 400
        assert said(response)["code"] == 3
        assert named in said(response)["message"]


def test_types_and_sizes_of_bodies_are_checked(tmp_path: Path) -> None:
    with running(tmp_path, max_body_bytes=100) as gateway:
        assert (
            gateway.request("POST", "/shop.Shop/Buy", {"content-type": "text/plain"}, body="{}").status == 415
        )
        assert gateway.request("POST", "/shop.Shop/Buy", body="{}").status == 415
        assert send(gateway, "POST", "/shop.Shop/Buy", {"name": "x" * 101}).status == 413
        many = "&".join(f"tags={n}" for n in range(300))
        assert gateway.get(f"/v1/books:find?{many}").status == 400


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("NOT_FOUND", 404),
        ("UNAUTHENTICATED", 401),
        ("INTERNAL", 500),
        ("UNAVAILABLE", 503),
        ("DEADLINE_EXCEEDED", 504),
    ],
)
def test_errors_of_the_service_have_the_status_of_their_code(tmp_path: Path, code: str, status: int) -> None:
    with running(
        tmp_path, lambda name, message, context: context.abort(grpc.StatusCode[code], "so")
    ) as gateway:
        response = send(gateway, "POST", "/shop.Shop/Buy", {})
        assert response.status == status
        assert said(response) == {"code": grpc.StatusCode[code].value[0], "message": "so", "details": []}


def test_a_service_that_is_not_there_is_503() -> None:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(GrpcTranscode(url="grpc://127.0.0.1:1", descriptors=str(EXAMPLE), timeout=2))
    with TestGateway(gate, upstreams={SERVER: "other"}) as gateway:
        assert send(gateway, "POST", "/shop.Shop/Buy", {}).status in (503, 504)


def test_matching_takes_linear_time(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        began = time.process_time()
        gateway.get("/v1/shelves/" + "a/books/" * 500)
        assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        (b"no descriptors", {}),
        (b"", {}),
        (None, {}),
        (descriptors().SerializeToString(), {"services": ["shop.Other"]}),
        (descriptors().SerializeToString(), {"url": "http://a:1"}),
        *(
            (descriptors().SerializeToString(), {"headers": [name]})
            for name in ("x-a-bin", "grpc-timeout", "te", "host", "a b", "", ":path", "x\n")
        ),
        (descriptors().SerializeToString().replace(b".shop.Order", b".shop.Odder"), {}),
        (descriptors().SerializeToString().replace(b"/v1/books/{id}", b"/v1/books/{id{"), {}),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, content: bytes | None, settings: dict[str, Any]) -> None:
    file = tmp_path / "shop.pb"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError):
        Gateway().use(GrpcTranscode(**{"url": "grpc://a:1", "descriptors": str(file), **settings}))
