"""`/v1/breakpoints`: looks into running code, as `headgate inspect` does.

Conditions and what is shown are Python, run in the workers: whoever may set a breakpoint may run any code there. So it
needs the role `admin`, and `breakpoints: true` in the configuration of the Admin API.
"""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headgate._digits import whole_number
from headgate.config.admin import AdminConfig
from headgate.control.inspection_messages import CannotLook, InspectOrder

from .access import Caller
from .bodies import JSON, number, object_body, query
from .node import Breakpoint, Node
from .problems import Refusal

LONGEST_S, MOST_COUNT = 3600.0, 1000
MOST_TEXT, MOST_SHOWN = 1000, 20
LARGEST = 10**15


class Breakpoints:
    """The handlers."""

    def __init__(self, admin: AdminConfig) -> None:
        self._are_allowed = admin.breakpoints

    async def every(self, request: Request, node: Node, caller: Caller) -> Response:
        """GET all; POST sets one."""
        self._must_be_allowed(caller)
        query(request)
        if request.method == "GET":
            return _json({"breakpoints": [_told(one) for one in node.breakpoints.all()]})
        body = await object_body(
            request, {"at": str, "condition": str, "show": list, "count": int, "seconds": (int, float)}
        )
        try:
            made = await node.breakpoints.begin(_order(body), _seconds(body))
        except CannotLook as error:
            raise Refusal(409, str(error)) from None
        return _json(_told(made), 201)

    async def one(self, request: Request, node: Node, caller: Caller) -> Response:
        """GET what one has seen since a number; DELETE takes it off."""
        self._must_be_allowed(caller)
        text = request.path_params["number"]
        found = None if (wanted := whole_number(text)) is None else node.breakpoints.find(wanted)
        if found is None:
            raise Refusal(404, "there is no such breakpoint")
        if request.method == "DELETE":
            query(request)
            node.breakpoints.remove(found.number)
            return Response(status_code=204)
        after = number(query(request, "after"), "after", 0, 0, LARGEST)
        return _json({**_told(found), "hits": [hit for hit in found.hits if hit["number"] > after]})

    def _must_be_allowed(self, caller: Caller) -> None:
        caller.must_be("admin")
        if not self._are_allowed:
            raise Refusal(
                403,
                "breakpoints run Python code in the workers, and are off",
                "write `breakpoints: true` under `admin` in the file",
            )


def _order(body: dict[str, Any]) -> InspectOrder:
    at, condition, show = body.get("at", ""), body.get("condition") or None, body.get("show", [])
    texts = [at, *([condition] if condition else []), *show]
    if (
        not at
        or len(show) > MOST_SHOWN
        or not all(isinstance(one, str) and len(one) <= MOST_TEXT for one in texts)
    ):
        raise Refusal(400, "`at` is missing, or an expression is not a short text")
    for expression in texts[1:]:
        try:
            compile(expression, "<inspect>", "eval")
        except (SyntaxError, ValueError) as error:
            raise Refusal(400, f"`{expression}` is not a valid expression: {error}") from None
    count = body.get("count", 10)
    if not 1 <= count <= MOST_COUNT:
        raise Refusal(400, f"`count` is not a number from 1 to {MOST_COUNT}")
    return InspectOrder(at=at, condition=condition, show=list(show), count=count)


def _seconds(body: dict[str, Any]) -> float:
    seconds = float(body.get("seconds", 60))
    if not (0.1 <= seconds <= LONGEST_S and math.isfinite(seconds)):
        raise Refusal(400, f"`seconds` is not within 0.1 and {LONGEST_S:g}")
    return seconds


def _told(one: Breakpoint) -> dict[str, Any]:
    order = one.order
    return {
        "number": one.number,
        "at": order.at,
        "condition": order.condition,
        "show": order.show,
        "place": one.place,
        "newest": one.newest,
        "ended": one.ended,
    }


def _json(told: Any, status: int = 200) -> Response:
    return Response(json.dumps(told), status, media_type=JSON)  # in ASCII, whatever clients have sent
