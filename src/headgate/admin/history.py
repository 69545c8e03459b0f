"""What was, what differs, and what runs: the history, diffs between revisions, the status, the whole configuration."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headgate.compile.masking import shown as whole
from headgate.config.resources import KINDS
from headgate.stores import Entry, Key, Snapshot

from .access import Caller
from .bodies import number, query
from .node import Node
from .problems import Refusal
from .transactions import at
from .writing import resource_key, shown

MOST_ENTRIES = 1000
LARGEST = 10**15


async def history(request: Request, node: Node, _: Caller) -> Response:
    """GET `/v1/history`: the newest revisions first, of all resources or of one."""
    given = query(request, "limit", "before", "resource")
    limit = number(given, "limit", 100, 1, MOST_ENTRIES)
    before = number(given, "before", 0, 1, LARGEST) if "before" in given else None
    key = None
    if "resource" in given:
        kind, slash, name = given["resource"].partition("/")
        if kind not in KINDS or not slash:
            raise Refusal(400, f"`{given['resource'][:100]}` is not a resource", "write `routes/NAME`")
        key = resource_key(kind, name)
    entries = await node.store.history(limit=limit, before=before, key=key)
    return JSONResponse({"entries": [_entry(one) for one in entries]})


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "revision": entry.revision.number,
        "at": entry.at.isoformat(),
        "author": entry.author,
        "note": entry.note,
        "edits": [_edit(edit.key, edit.before, edit.after) for edit in entry.edits if edit.key.kind in KINDS],
    }


def _edit(key: Key, before: Any, after: Any) -> dict[str, Any]:
    edit: dict[str, Any] = {
        "kind": key.kind,
        "name": key.name,
        "before": shown(key, before),
        "after": shown(key, after),
    }
    if before is not None and after is not None and before != after and edit["before"] == edit["after"]:
        edit["secrets_differ"] = True
    return edit


async def diff(request: Request, node: Node, _: Caller) -> Response:
    """GET `/v1/diff`: what differs between two revisions, each resource before and after."""
    given = query(request, "from", "to")
    if "from" not in given:
        raise Refusal(400, "`from` is missing", "give a revision")
    first = await at(node, number(given, "from", 0, 0, LARGEST))
    last = await at(node, number(given, "to", 0, 0, LARGEST)) if "to" in given else node.newest
    return JSONResponse(
        {"from": first.revision.number, "to": last.revision.number, "edits": edits(first, last)}
    )


def edits(first: Snapshot, last: Snapshot) -> list[dict[str, Any]]:
    """What differs between two states, in the order of kinds and names."""
    found = []
    for key in sorted({*first.resources, *last.resources}):
        before, after = (
            one.resources[key].document if key in one.resources else None for one in (first, last)
        )
        if before != after and key.kind in KINDS:
            found.append(_edit(key, before, after))
    return found


async def status(request: Request, node: Node, _: Caller) -> Response:
    """GET `/v1/status`: what is in force, in which workers, and how the store is."""
    query(request)
    runs, health, not_applied = await node.status(), node.store.health, node.not_applied
    return JSONResponse(
        {
            "generation": runs.generation,
            "revision": node.in_force.snapshot.revision.number,
            "store": {
                "revision": node.newest.revision.number,
                "connected": health.is_connected,
                "error": health.error or None,
                "not_applied": not_applied and {"revision": not_applied.number, "reason": not_applied.reason},
            },
            "left_out": node.in_force.left_out,
            "awaiting": node.in_force.awaiting,
            "resources": {
                kind: sum(key.kind == kind for key in node.in_force.snapshot.resources) for kind in KINDS
            },
            "uptime_s": runs.uptime_s,
            "listeners": runs.listeners,
            "reloading": runs.reloading,
            "workers": [worker.plain() for worker in runs.workers],
        }
    )


async def configuration(request: Request, node: Node, _: Caller) -> Response:
    """GET `/v1/config`: the file and the resources together, as they are in force; secrets are masked."""
    query(request)
    return JSONResponse(whole(node.in_force.merged.gateway.config))
