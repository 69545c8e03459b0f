"""Several changes at once: transactions, their trial, imports with what an owner no longer has, exports, rollbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headgate.compile.lint import lint
from headgate.compile.masking import masked
from headgate.config.resources import KINDS
from headgate.stores import Document, Key, RevisionCompacted, Snapshot

from .access import Caller
from .bodies import object_body, query, switch
from .importing import Import
from .node import Node, Written
from .patching import json_patched, merge_patched
from .problems import MOST_PROBLEMS, Refusal, described
from .writing import Operation, carry_out, carry_out_plan, performed, resource_key

MOST_OPERATIONS = 100_000


async def transaction(request: Request, node: Node, caller: Caller) -> Response:
    """POST `/v1/transactions`: all operations, or none."""
    caller.must_be("operate")
    is_trial = switch(query(request, "dry_run"), "dry_run")
    operations, note = await _operations(request)
    written = await carry_out(node, caller, operations, note=note, is_trial=is_trial)
    return JSONResponse(_outcome(written, [operation.key for operation in operations]))


async def validate(request: Request, node: Node, caller: Caller) -> Response:
    """POST `/v1/validate`: whether a transaction would fit together, without asking the workers."""
    caller.must_be("operate")
    query(request)
    operations, _ = await _operations(request)
    documents: dict[str, dict[str, Document]] = {}
    for key, resource in node.newest.resources.items():
        documents.setdefault(key.kind, {})[key.name] = resource.document
    for operation in operations:
        of_kind = documents.setdefault(operation.key.kind, {})
        after = performed(caller, operation, node.newest.resources.get(operation.key))
        if after is None:
            of_kind.pop(operation.key.name, None)
        else:
            of_kind[operation.key.name] = after
    merged = node.base.merged(documents)
    merged.check_against(node.in_force.awaiting)
    config = merged.gateway.config  # which looks at all of it together
    warnings = islice(lint(merged.gateway, config=config, is_whole=True), MOST_PROBLEMS)
    told = [described(one) for one in warnings]
    return JSONResponse({"valid": True, "left_out": merged.left_out, "warnings": told})


async def export(request: Request, node: Node, _: Caller) -> Response:
    """GET `/v1/export`: every resource, by kind and name, without secrets."""
    query(request)
    found: dict[str, dict[str, Any]] = {}
    for key, resource in sorted(node.newest.resources.items()):
        if key.kind in KINDS:
            found.setdefault(key.kind, {})[key.name] = masked(key.kind, resource.document)
    return JSONResponse({"revision": node.newest.revision.number, "resources": found})


async def import_(request: Request, node: Node, caller: Caller) -> Response:
    """POST `/v1/import`: makes the store hold these resources; with `prune`, no others that their owner had."""
    caller.must_be("operate")
    is_trial = switch(query(request, "dry_run"), "dry_run")
    body = await object_body(
        request, {"resources": dict, "owner": str, "prune": bool, "allow_many": bool, "note": str}
    )
    if "resources" not in body:
        raise Refusal(400, "`resources` is missing")
    wanted = {
        resource_key(kind, name): document
        for kind, documents in body["resources"].items()
        for name, document in _table(kind, documents).items()
    }
    owner = body.get("owner", "default")
    resource_key("routes", owner)  # names of owners follow the same rule
    what = Import(
        wanted, owner, prunes=body.get("prune", False), may_prune_many=body.get("allow_many", False)
    )
    written = await carry_out_plan(node, caller, what.plan, note=body.get("note", ""), is_trial=is_trial)
    counts = {name: len(keys) for name, keys in what.changes.items()}
    changes = {name: [str(key) for key in keys] for name, keys in what.changes.items()}
    return JSONResponse({**_revisions(written), "counts": counts, "changes": changes})


def _table(kind: str, documents: Any) -> Mapping[str, Any]:
    if not isinstance(documents, dict) or not all(isinstance(one, dict) for one in documents.values()):
        raise Refusal(
            400, f"`resources.{kind[:100]}` is not an object of objects", "write `{name: resource}`"
        )
    return documents


async def rollback(request: Request, node: Node, caller: Caller) -> Response:
    """POST `/v1/rollback`: the store holds again what it held at a revision."""
    caller.must_be("operate")
    is_trial = switch(query(request, "dry_run"), "dry_run")
    body = await object_body(request, {"revision": int, "note": str})
    if body.get("revision", -1) < 0:
        raise Refusal(400, "`revision` is missing" if "revision" not in body else "`revision` is less than 0")
    target = await at(node, body["revision"])
    note = body.get("note") or f"rollback to revision {body['revision']}"
    changed: list[Key] = []

    def plan(snapshot: Snapshot) -> Sequence[Operation]:
        changed[:] = sorted(
            key
            for key in {*snapshot.resources, *target.resources}
            if _document(snapshot, key) != _document(target, key)
        )
        return [Operation(key, lambda _, key=key: _document(target, key)) for key in changed]

    written = await carry_out_plan(node, caller, plan, note=note, is_trial=is_trial)
    return JSONResponse(_outcome(written, [key for key in changed if key.kind in KINDS]))


async def at(node: Node, revision: int) -> Snapshot:
    """The store at a revision; raises a 404 or, for one that is forgotten, a 410."""
    try:
        return await node.store.at(revision)
    except RevisionCompacted as error:
        message, _, hint = str(error).partition("\n  hint: ")
        raise Refusal(410, message, hint or None) from None
    except (LookupError, ValueError, OverflowError):
        raise Refusal(
            404, f"there is no revision {revision}", "`headgate history` and `GET /v1/history` list them"
        ) from None


def _document(snapshot: Snapshot, key: Key) -> Document | None:
    found = snapshot.resources.get(key)
    return found.document if found else None


async def _operations(request: Request) -> tuple[list[Operation], str]:
    body = await object_body(request, {"operations": list, "note": str})
    given = body.get("operations")
    if given is None or len(given) > MOST_OPERATIONS:
        raise Refusal(400, f"`operations` is a list of at most {MOST_OPERATIONS}")
    operations = [_operation(one, position) for position, one in enumerate(given)]
    if len({operation.key for operation in operations}) != len(operations):
        raise Refusal(400, "two operations are of the same resource", "put together what they do")
    return operations, body.get("note", "")


def _operation(given: Any, position: int) -> Operation:
    where = f"operations[{position}]"
    if not isinstance(given, dict) or not {"op", "kind", "name"} <= given.keys():
        raise Refusal(400, f"`{where}` is not an object with `op`, `kind` and `name`")
    own = {"put": {"resource"}, "patch": {"patch"}}.get(str(given["op"]), set())
    if unknown := given.keys() - {"op", "kind", "name", "if_match", *own}:
        raise Refusal(400, f"unknown key `{min(unknown)[:100]}` in `{where}`")
    if not isinstance(given["kind"], str) or not isinstance(given["name"], str):
        raise Refusal(400, f"`kind` and `name` of `{where}` are texts")
    if given["kind"] not in KINDS:
        raise Refusal(400, f"there is no kind `{given['kind'][:100]}`", f"one of {', '.join(KINDS)}")
    key = resource_key(given["kind"], given["name"])
    expected, is_new = _expected(given, where)
    match given["op"]:
        case "delete":
            return Operation(key, lambda _: None, expected, must_exist=True, deletes=True)
        case "put" if isinstance(given.get("resource"), dict):
            return Operation(key, lambda _: given["resource"], expected, must_be_new=is_new)
        case "patch" if isinstance(given.get("patch"), dict | list):
            patch = given["patch"]
            make = partial(_patched, patch=patch)
            return Operation(key, make, expected, must_exist=True, is_relative=isinstance(patch, list))
        case "put" | "patch" as op:
            raise Refusal(400, f"`{where}` has no `{'resource' if op == 'put' else 'patch'}`")
        case _:
            raise Refusal(400, f"`op` of `{where}` is `put`, `patch` or `delete`")


def _expected(given: dict[str, Any], where: str) -> tuple[list[int | str] | None, bool]:
    """What `if_match` says: a revision, or null for a resource that must be new."""
    if "if_match" not in given:
        return None, False
    wanted = given["if_match"]
    if isinstance(wanted, float) and wanted.is_integer():
        wanted = int(wanted)
    if wanted is None:
        return None, True
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        raise Refusal(400, f"`if_match` of `{where}` is a revision, or null")
    return [wanted], False


def _patched(before: Document | None, patch: Any) -> Any:
    return (
        json_patched(dict(before or {}), patch) if isinstance(patch, list) else merge_patched(before, patch)
    )


def _outcome(written: Written, keys: Sequence[Key]) -> dict[str, Any]:
    resources = written.snapshot.resources
    results = [
        {
            "kind": key.kind,
            "name": key.name,
            "revision": resources[key].revision if key in resources else None,
        }
        for key in keys
    ]
    return {**_revisions(written), "results": results}


def _revisions(written: Written) -> dict[str, Any]:
    return {"revision": written.snapshot.revision.number, "generation": written.generation}
