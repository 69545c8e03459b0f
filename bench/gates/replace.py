"""What the peer does in Lua: puts other 5 KB in the place of the body. The hook itself costs nothing."""

import os

from headgate import Gateway, Request, ResponseView

OTHER = b"X" * (5 << 10)

gate = Gateway()
gate.listen(os.environ.get("BENCH_REPLACE", "127.0.0.1:22027"))
route = gate.route("/", to=os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))


@route.response_body
def body_filter(request: Request, response: ResponseView, chunk: bytes, last: bool) -> bytes:
    """`body_filter_by_lua`: `ngx.arg[1] = other`."""
    return OTHER
