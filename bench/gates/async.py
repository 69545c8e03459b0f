"""The hooks of headers.py as coroutines that never wait."""

import os

from headgate import Gateway, Request, ResponseView

gate = Gateway()
gate.listen(os.environ.get("BENCH_ASYNC", "127.0.0.1:22013"))


@gate.route("/", to=os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))
async def access(request: Request) -> None:
    """`access_by_lua`: the origin is told who was seen."""
    request.headers["x-seen"] = request.headers.get("x-user") or "none"


@access.response
async def header_filter(request: Request, response: ResponseView) -> None:
    """`header_filter_by_lua`: the client is told by whom."""
    response.headers["x-gw"] = "headgate"
