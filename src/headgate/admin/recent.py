"""The newest requests of a gateway, for a page that watches them."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response

from .access import Caller
from .bodies import JSON, number, query
from .node import Node

LARGEST = 10**15


async def requests(request: Request, node: Node, caller: Caller) -> Response:
    """GET `/v1/requests`: those since a number, as lines of the access log.

    It needs the role `operate`, since targets and addresses are the clients' own.
    """
    caller.must_be("operate")
    recent = node.recent(number(query(request, "after"), "after", 0, 0, LARGEST))
    told = {"newest": recent.newest, "lost": recent.lost, "requests": recent.requests}
    return Response(json.dumps(told), media_type=JSON)  # in ASCII, whatever clients have sent
