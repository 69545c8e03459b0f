"""response-validation: which responses of servers fit a document, and what clients see of those that do not."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Plugin, Response
from headgate.plugins import KeyAuth, ProxyRewrite, ResponseValidation
from headgate.testing import Received, TestGateway

SERVER = "server.test:80"
USER = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "integer"}},
    "additionalProperties": False,
}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "x", "version": "1"},
    "servers": [{"url": "/api"}],
    "paths": {
        "/users/{id}": {
            "get": {
                "responses": {
                    "200": {
                        "headers": {"x-rate": {"required": True, "schema": {"type": "integer"}}},
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/User"}},
                            "text/*": {},
                        },
                    },
                    "4XX": {"$ref": "#/components/responses/Error"},
                }
            },
            "head": {"responses": {"default": {"content": {"application/json": {"schema": USER}}}}},
            "delete": {"responses": {"204": {}}},
        }
    },
    "components": {
        "schemas": {"User": USER},
        "responses": {
            "Error": {
                "content": {"application/problem+json": {"schema": {"required": ["title"], "type": "object"}}}
            }
        },
    },
}
GOOD = {"x-rate": "5", "content-type": "application/json"}


def running(
    tmp_path: Path, reply: Response, *others: Plugin, **use: Any
) -> tuple[TestGateway, ResponseValidation]:
    file = tmp_path / "api.json"
    file.write_text(json.dumps(DOCUMENT))

    def served(received: Received) -> Response:
        return Response(reply.status, reply.body, headers=reply.headers)

    gate = Gateway()
    gate.route("/", to=SERVER)
    plugin = ResponseValidation(openapi=str(file), max_body_bytes=1000)
    gate.use(plugin, **use)
    for other in others:
        gate.use(other)
    return TestGateway(gate, upstreams={SERVER: served}), plugin


@pytest.mark.parametrize(
    ("status", "body", "headers", "reason"),
    [
        (200, '{"id": 7}', GOOD, None),
        (200, '{"id": 7}', {**GOOD, "content-type": "Application/JSON; charset=utf-8"}, None),
        (200, "anything", {**GOOD, "content-type": "text/plain"}, None),
        (404, '{"title": "x"}', {"content-type": "application/problem+json"}, None),
        (200, '{"id": "7"}', GOOD, "does not fit the rule `type` at /id"),
        (200, '{"id": 7, "password": "x"}', GOOD, "`additionalProperties`"),
        (200, '{"id": 7, "id": 8}', GOOD, "a name twice"),
        (200, "{", GOOD, "is not valid JSON"),
        (200, "[" * 900, GOOD, "nested too deep"),
        (200, '{"id": ' + "7" * 2000 + "}", GOOD, "too large to be checked"),
        (200, '{"id": 7}', {"content-type": "application/json"}, "the field `x-rate` is missing"),
        (200, '{"id": 7}', {**GOOD, "x-rate": "many"}, "the field `x-rate` does not fit"),
        (200, "<a/>", {**GOOD, "content-type": "application/xml"}, "the type is not in the document"),
        (200, "x", {"x-rate": "5"}, "the type is not in the document"),
        (201, '{"id": 7}', GOOD, "the status is not in the document"),
        (500, "Traceback: hush", {"content-type": "text/plain"}, "the status is not in the document"),
        (404, "{}", {"content-type": "application/problem+json"}, "`required`"),
    ],
)
def test_what_does_not_fit_is_a_502_whose_reason_is_in_the_log_only(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: str,
    headers: dict[str, str],
    reason: str | None,
) -> None:
    gateway, plugin = running(tmp_path, Response(status, body.encode(), headers=headers))
    with gateway:
        response = gateway.get("/api/users/7")
    if reason is None:
        assert (response.status, response.text, plugin._denied.value) == (status, body, 0)
        return
    assert response.status == 502 and plugin._denied.value == 1
    assert response.json() == {"error": "the response of the server is not what was expected"}
    (told,) = [vars(one) for one in caplog.records if one.message == "a response does not fit"]
    assert reason in told["reason"] and told["operation"] == "GET /users/{id}"


def test_a_coded_body_is_checked_and_goes_on_coded(tmp_path: Path) -> None:
    coded = {**GOOD, "content-encoding": "gzip"}
    for body, status in (('{"id": 7}', 200), ('{"id": null}', 502)):
        gateway, _ = running(tmp_path, Response(200, gzip.compress(body.encode()), headers=coded))
        with gateway:
            response = gateway.get("/api/users/7", {"accept-encoding": "gzip"})
        assert response.status == status
        if status == 200:
            assert gzip.decompress(response.body) == body.encode()


def test_what_has_no_body_or_is_not_an_operation_is_left_alone(tmp_path: Path) -> None:
    gateway, plugin = running(tmp_path, Response(200, b"", headers={"content-type": "application/json"}))
    with gateway:
        assert gateway.request("HEAD", "/api/users/7").status == 200
        assert gateway.get("/other").status == 200 and gateway.post("/api/users/7", "x").status == 200
    gateway, _ = running(tmp_path, Response(204))
    with gateway:
        assert gateway.request("DELETE", "/api/users/7").status == 204
    assert plugin._denied.value == 0


def test_replies_of_the_gateway_and_rewritten_paths_do_not_count(tmp_path: Path) -> None:
    good = Response(200, b'{"id": 7}', headers=GOOD)
    rules = [{"match": "/api/users/(.*)", "to": r"/elsewhere/\1"}]
    gateway, _ = running(tmp_path, good, KeyAuth(keys={"a": "b"}), ProxyRewrite(path=rules))
    with gateway:
        assert gateway.get("/api/users/7").status == 401
        assert gateway.get("/api/users/7", {"x-api-key": "b"}).status == 200
    gateway, _ = running(tmp_path, Response(200, b"{}", headers=GOOD), ProxyRewrite(path=rules))
    with gateway:
        assert gateway.get("/api/users/7").status == 502


def test_a_report_lets_everything_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for reply in (Response(201, b"x"), Response(200, b'{"id": "x"}', headers=GOOD)):
        gateway, _ = running(tmp_path, reply, mode="report")
        with gateway:
            response = gateway.get("/api/users/7")
            assert (response.status, response.body) == (reply.status, reply.body)
    assert sum(one.message == "a response does not fit" for one in caplog.records) == 2


def test_a_document_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    for file in ("/nowhere.yaml", str(tmp_path / "x.json")):
        with pytest.raises(ConfigError):
            Gateway().use(ResponseValidation(openapi=file))
