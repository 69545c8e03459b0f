"""What the peer does in Lua: upper-cases the response's body."""

import os

from headgate import Gateway, Request, ResponseView

gate = Gateway()
gate.listen(os.environ.get("BENCH_BODY", "127.0.0.1:22020"))
route = gate.route("/", to=os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))


@route.response_body
def body_filter(request: Request, response: ResponseView, chunk: bytes, last: bool) -> bytes:
    """`body_filter_by_lua`: `ngx.arg[1] = ngx.arg[1]:upper()`."""
    return chunk.upper()
