"""Forgets former revisions, so that a store does not grow for ever."""

from __future__ import annotations

import logging
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .access import Caller
from .bodies import object_body, query
from .node import Node
from .problems import Refusal

LONGEST_S = 100 * 365 * 86400
MOST_KEPT = 10**15

audit_log = logging.getLogger("headgate.audit")


async def compact(request: Request, node: Node, caller: Caller) -> Response:
    """POST `/v1/compact`: forgets all but the last `keep` revisions that are also older than `older_than_s`."""
    caller.must_be("admin")  # what is forgotten cannot be had again
    query(request)
    body = await object_body(request, {"keep": int, "older_than_s": (int, float)})
    keep, age_s = body.get("keep"), body.get("older_than_s")
    if keep is None and age_s is None:
        raise Refusal(400, "`keep` or `older_than_s` is required", 'write `{"keep": 1000}`')
    if keep is not None and not 1 <= keep <= MOST_KEPT:
        raise Refusal(400, f"`keep` is not a number from 1 to {MOST_KEPT}")
    if age_s is not None and not 0 <= age_s <= LONGEST_S:
        raise Refusal(400, f"`older_than_s` is not a number from 0 to {LONGEST_S}")
    age = None if age_s is None else timedelta(seconds=age_s)
    oldest = await node.store.compact(keep=keep, older_than=age)
    audit_log.info("compacted the history", extra={"by": caller.name, "oldest": oldest})
    return JSONResponse({"oldest": oldest})
