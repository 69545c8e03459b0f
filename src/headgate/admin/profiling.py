"""POST `/v1/profile`: a profile of the workers' Python code: its stacks, a flame graph and a speedscope file."""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headgate.profiling.flame_graph import flame_graph
from headgate.profiling.profile import Profile
from headgate.profiling.speedscope import speedscope

from .access import Caller
from .bodies import object_body, query
from .node import Node
from .problems import Refusal

LONGEST_S, INTERVAL_S = 60.0, 0.005


async def profile(request: Request, node: Node, caller: Caller) -> Response:
    """All three at once, since a second profile would be another one.

    It needs the role `operate`: names of functions and files are in it, and it costs the workers time.
    """
    caller.must_be("operate")
    query(request)
    body = await object_body(request, {"seconds": (int, float)})
    seconds = float(body.get("seconds", 10))
    if not (0.05 <= seconds <= LONGEST_S and math.isfinite(seconds)):
        raise Refusal(400, f"`seconds` is not within 0.05 and {LONGEST_S:g}")
    reply = await node.profile(seconds, INTERVAL_S)
    if reply.error is not None:
        raise Refusal(409, reply.error)
    taken = Profile.of(reply.profile)
    title = f"headgate, {seconds:g} s of {reply.workers} workers"
    hooks = [{"phase": phase, "hook": hook, "seconds": spent} for phase, hook, spent in taken.by_hook()]
    return JSONResponse(
        {
            "seconds": seconds,
            "workers": reply.workers,
            "missing": reply.missing,
            "hooks": hooks,
            "profile": taken.plain(),
            "svg": flame_graph(taken, title),
            "speedscope": speedscope(taken, title),
        }
    )
