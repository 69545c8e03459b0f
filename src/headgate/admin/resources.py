"""Resources one by one: read, put, patched, deleted; and lists of them."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headgate.compile.masking import masked
from headgate.config.resources import KINDS
from headgate.stores import Document, Key, Resource, Snapshot

from .access import Caller
from .bodies import (
    JSON_PATCH,
    MERGE_PATCH,
    if_match,
    if_none_match,
    json_body,
    media_type,
    number,
    query,
    switch,
)
from .node import Node
from .patching import json_patched, merge_patched
from .problems import Refusal
from .writing import ANY, Operation, carry_out, may_change, resource_key

MOST_LISTED = 1000


async def one(request: Request, node: Node, caller: Caller) -> Response:
    """GET, PUT, PATCH or DELETE of `/v1/{kind}/{name}`."""
    key = resource_key(_kind(request), request.path_params["name"])
    if request.method in ("GET", "HEAD"):
        query(request)
        found = node.newest.resources.get(key)
        if found is None:
            raise Refusal(404, f"there is no resource `{key}`")
        known = if_none_match(request)
        if known is not None and (ANY in known or found.revision in known):
            return Response(status_code=304, headers={"etag": etag(found)})
        return _response(found, 200)
    may_change(caller, key)  # before anything is said of what the request carries
    is_trial = switch(query(request, "dry_run"), "dry_run")
    operation = await _operation(request, node, key)
    is_new = key not in node.newest.resources
    written = await carry_out(node, caller, [operation], is_trial=is_trial)
    found = written.snapshot.resources.get(key)
    headers = {"x-headgate-revision": str(written.snapshot.revision.number)}
    if found is None:
        return Response(status_code=204, headers=headers)
    if is_new and not is_trial:
        return _response(found, 201, headers | {"location": request.url.path})
    return _response(found, 200, headers)


async def _operation(request: Request, node: Node, key: Key) -> Operation:
    expected = if_match(request)
    none_match = if_none_match(request)
    must_be_new = none_match is not None and ANY in none_match
    if request.method == "DELETE":
        return Operation(key, lambda _: None, expected, must_exist=True, deletes=True)
    if request.method == "PUT":
        document = await json_body(request)
        if not isinstance(document, dict):
            raise Refusal(400, "the body is not an object", f"write the keys of the {KINDS[key.kind].one}")
        node.base.parsed(
            key.kind, key.name, document
        )  # what does not fit is said before what others have done
        return Operation(key, lambda _: document, expected, must_be_new=must_be_new)
    patch = await json_body(request, MERGE_PATCH, JSON_PATCH, "application/json")
    if media_type(request) == JSON_PATCH:

        def make(before: Document) -> Any:
            return json_patched(dict(before), patch)

        return Operation(key, make, expected, must_exist=True, is_relative=True)
    if not isinstance(patch, dict):
        raise Refusal(400, "a merge patch is an object", "see RFC 7396")
    return Operation(key, lambda before: merge_patched(before, patch), expected, must_exist=True)


async def many(request: Request, node: Node, caller: Caller) -> Response:
    """`/v1/{kind}`: those whose name or text has `search` in it, a page at a time."""
    kind = _kind(request)
    given = query(request, "search", "limit", "after")
    limit = number(given, "limit", 100, 1, MOST_LISTED)
    snapshot = node.newest
    names = sorted(key.name for key in snapshot.resources if key.kind == kind)
    items: list[dict[str, Any]] = []
    after, wanted = given.get("after", ""), given.get("search", "").lower()
    for name in names:
        if name <= after:
            continue
        item = _listed(snapshot, kind, name, wanted)
        if item is None:
            continue
        if len(items) == limit:
            return JSONResponse(_page(snapshot, items, items[-1]["name"]))
        items.append(item)
    return JSONResponse(_page(snapshot, items, None))


def _kind(request: Request) -> str:
    """The kind that stands in the path."""
    path: str = request.scope["path"]
    return path.split("/")[2]


def _page(snapshot: Snapshot, items: list[dict[str, Any]], after: str | None) -> dict[str, Any]:
    return {"revision": snapshot.revision.number, "items": items, "next": after}


def _listed(snapshot: Snapshot, kind: str, name: str, wanted: str) -> dict[str, Any] | None:
    resource = snapshot.resources[Key(kind, name)]
    document = masked(kind, resource.document)
    if (
        wanted
        and wanted not in name.lower()
        and wanted not in json.dumps(document, ensure_ascii=False).lower()
    ):
        return None
    return {"name": name, "revision": resource.revision, "resource": document}


def etag(resource: Resource) -> str:
    """The revision that changed it last."""
    return f'"{resource.revision}"'


def _response(resource: Resource, status: int, headers: dict[str, str] | None = None) -> Response:
    document: Document = masked(resource.key.kind, resource.document)
    return JSONResponse(document, status, {"etag": etag(resource), **(headers or {})})
