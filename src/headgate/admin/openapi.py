"""The OpenAPI 3.1 document of the Admin API, made from the models of resources."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headgate import __version__
from headgate.config.resources import KINDS, Kind

from .access import Caller
from .bodies import JSON, JSON_PATCH, MERGE_PATCH, query
from .compacting import LONGEST_S, MOST_KEPT
from .node import Node
from .problems import TYPE
from .writing import NAME_PATTERN

NAME = {"type": "string", "pattern": f"^{NAME_PATTERN}$"}
REVISION = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}
BREAKPOINT = {"name": "number", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}


async def document(request: Request, _node: Node, _caller: Caller) -> Response:
    """GET `/openapi.json`."""
    query(request)
    return JSONResponse(openapi())


@cache
def openapi() -> dict[str, Any]:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "headgate Admin API",
            "version": __version__,
            "description": "Changes of routes, upstreams and so on, in force in every worker when the response comes.",
        },
        "security": [{"token": []}, {}],
        "paths": {
            **{path: item for kind in KINDS.values() for path, item in _of_kind(kind).items()},
            **_others(),
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
            "responses": {"Problem": {"description": "What is wrong.", "content": {TYPE: _ref("Problem")}}},
        },
    }


def _ref(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}


def _schemas() -> dict[str, Any]:
    models = [(kind.model, "validation") for kind in KINDS.values()]
    _, made = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas: dict[str, Any] = made["$defs"]
    for kind in KINDS.values():
        whole = schemas[kind.model.__name__]
        # a resource is a table: short forms, which stand before it, are for files
        schemas[_schema_name(kind)] = whole["anyOf"][-1] if "anyOf" in whole else whole
    strings = {"message": TEXT, "hint": TEXT, "resource": TEXT, "place": TEXT, "path": TEXT}
    problem = {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT, "hint": TEXT}
    errors = {"type": "array", "items": _object(strings, "message")}
    schemas["Problem"] = _object({**problem, "errors": errors}, "type", "title", "status", "detail")
    key = {"kind": {"enum": list(KINDS)}, "name": NAME, "if_match": {"type": ["integer", "null"]}}
    patch = {"anyOf": [{"type": "object"}, {"type": "array", "items": _patch_operation()}]}
    operations = [
        _closed(
            {"op": {"const": "put"}, **key, "resource": {"type": "object"}}, "op", "kind", "name", "resource"
        ),
        _closed({"op": {"const": "patch"}, **key, "patch": patch}, "op", "kind", "name", "patch"),
        _closed({"op": {"const": "delete"}, **key}, "op", "kind", "name"),
    ]
    listed = {"type": "array", "items": {"oneOf": operations}}
    schemas["Transaction"] = _closed({"operations": listed, "note": TEXT}, "operations")
    by_name = {"type": "object", "additionalProperties": {"type": "object"}}
    schemas["Import"] = _closed(
        {
            "resources": _closed(dict.fromkeys(KINDS, by_name)),
            "owner": NAME,
            "prune": {"type": "boolean"},
            "allow_many": {"type": "boolean"},
            "note": TEXT,
        },
        "resources",
    )
    headers = {"type": "object", "additionalProperties": TEXT, "maxProperties": 100}
    schemas["RouteTest"] = _closed({"method": TEXT, "url": TEXT, "headers": headers}, "url")
    schemas["ProfileRequest"] = _closed({"seconds": {"type": "number", "minimum": 0.05, "maximum": 60}})
    expression = {"type": "string", "maxLength": 1000}
    schemas["BreakpointRequest"] = _closed(
        {
            "at": {**expression, "minLength": 1},
            "condition": expression,
            "show": {"type": "array", "items": expression, "maxItems": 20},
            "count": {"type": "integer", "minimum": 1, "maximum": 1000},
            "seconds": {"type": "number", "minimum": 0.1, "maximum": 3600},
        },
        "at",
    )
    keeps = {
        "keep": {"type": "integer", "minimum": 1, "maximum": MOST_KEPT},
        "older_than_s": {"type": "number", "minimum": 0, "maximum": LONGEST_S},
    }
    schemas["Compaction"] = {**_closed(keeps), "minProperties": 1}
    schemas["Rollback"] = _closed({"revision": REVISION, "note": TEXT}, "revision")
    return schemas


def _schema_name(kind: Kind) -> str:
    return kind.one.title().replace(" ", "")


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def _closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {**_object(properties, *required), "additionalProperties": False}


def _of_kind(kind: Kind) -> dict[str, Any]:
    schema = _ref(_schema_name(kind))
    name = {
        "name": "name",
        "in": "path",
        "required": True,
        "schema": NAME,
    }
    headers = {
        "ETag": {"description": "The revision that changed it last.", "schema": TEXT, "required": True}
    }
    found = {
        "description": f"The {kind.one}.",
        "headers": headers,
        "content": {JSON: {"schema": {"type": "object"}}},
    }
    made = {**found, "headers": {**headers, "Location": {"schema": TEXT, "required": True}}}
    match = _header("If-Match", "Only if it is at one of these revisions.")
    changes = [match, _query("dry_run", {"type": "boolean"})]
    new = _header("If-None-Match", "`*`: only if it is not there yet.")
    return {
        f"/v1/{kind.name}": {
            "get": _operation(
                f"list {kind.name}",
                {"200": _json("A page.")},
                [
                    _query("search", TEXT),
                    _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}),
                    _query("after", TEXT),
                ],
            )
        },
        f"/v1/{kind.name}/{{name}}": {
            "parameters": [name],
            "get": _operation(
                f"get {kind.name}",
                {"200": found, "304": {"description": "It is as it was.", "headers": headers}},
                [new],
            ),
            "put": _operation(
                f"put {kind.name}", {"200": found, "201": made}, [*changes, new], {JSON: schema}
            ),
            "patch": _operation(
                f"patch {kind.name}",
                {"200": found},
                changes,
                {
                    MERGE_PATCH: {"schema": {"type": "object"}},
                    JSON_PATCH: {"schema": {"type": "array", "items": _patch_operation()}},
                },
            ),
            "delete": _operation(
                f"delete {kind.name}", {"204": {"description": "It is gone."}, "200": found}, changes
            ),
        },
    }


def _patch_operation() -> dict[str, Any]:
    pointer = {"type": "string", "pattern": r"^(/([^~]|~[01])*)*$"}
    return {
        "oneOf": [
            _object(
                {"op": {"enum": ["add", "replace", "test"]}, "path": pointer, "value": {}},
                "op",
                "path",
                "value",
            ),
            _object(
                {"op": {"enum": ["move", "copy"]}, "path": pointer, "from": pointer}, "op", "path", "from"
            ),
            _object({"op": {"const": "remove"}, "path": pointer}, "op", "path"),
        ]
    }


def _others() -> dict[str, Any]:
    trial = [_query("dry_run", {"type": "boolean"})]
    number = {"type": "integer", "minimum": 1, "maximum": 10**15}
    return {
        "/v1/transactions": {"post": _posts("transaction", "Transaction", trial)},
        "/v1/validate": {"post": _posts("validate", "Transaction", [])},
        "/v1/import": {"post": _posts("import", "Import", trial)},
        "/v1/rollback": {"post": _posts("rollback", "Rollback", trial)},
        "/v1/compact": {"post": _posts("compact", "Compaction", [])},
        "/v1/export": {"get": _operation("export", {"200": _json("Every resource.")}, [])},
        "/v1/history": {
            "get": _operation(
                "history",
                {"200": _json("The newest revisions first.")},
                [
                    _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}),
                    _query("before", number),
                    _query(
                        "resource", {"type": "string", "pattern": f"^({'|'.join(KINDS)})/{NAME_PATTERN}$"}
                    ),
                ],
            )
        },
        "/v1/diff": {
            "get": _operation(
                "diff",
                {"200": _json("What differs.")},
                [{**_query("from", REVISION), "required": True}, _query("to", REVISION)],
            )
        },
        "/v1/status": {"get": _operation("status", {"200": _json("What runs.")}, [])},
        "/v1/live": {
            "get": _operation(
                "live",
                {"200": _json("Numbers of the moment, or their `number` alone where it is that of `after`.")},
                [_query("after", {"type": "integer", "minimum": 0, "maximum": 10**15})],
            )
        },
        "/v1/requests": {
            "get": _operation(
                "requests",
                {"200": _json("The newest requests.")},
                [_query("after", {"type": "integer", "minimum": 0, "maximum": 10**15})],
            )
        },
        "/v1/routes/-/test": {"post": _posts("test-route", "RouteTest", [])},
        "/v1/profile": {"post": _posts("profile", "ProfileRequest", [])},
        "/v1/breakpoints": {
            "get": _operation("breakpoints", {"200": _json("Breakpoints in running code.")}, []),
            "post": _operation(
                "set-breakpoint", {"201": _json("It is set.")}, [], {JSON: _ref("BreakpointRequest")}
            ),
        },
        "/v1/breakpoints/{number}": {
            "get": _operation(
                "breakpoint", {"200": _json("What it has seen.")}, [BREAKPOINT, _query("after", REVISION)]
            ),
            "delete": _operation(
                "remove-breakpoint", {"204": {"description": "It is removed."}}, [BREAKPOINT]
            ),
        },
        "/v1/config": {"get": _operation("config", {"200": _json("File and resources together.")}, [])},
        "/openapi.json": {"get": _operation("openapi", {"200": _json("This document.")}, [])},
    }


def _posts(name: str, schema: str, parameters: list[Any]) -> dict[str, Any]:
    return _operation(name, {"200": _json("What became of it.")}, parameters, {JSON: _ref(schema)})


def _operation(
    name: str, responses: dict[str, Any], parameters: list[Any], body: dict[str, Any] | None = None
) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": name.replace(" ", "-"),
        "parameters": parameters,
        "responses": {**responses, "default": {"$ref": "#/components/responses/Problem"}},
    }
    if body:
        said["requestBody"] = {"required": True, "content": body}
    return said


def _json(description: str) -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": {"type": "object"}}}}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": TEXT}
