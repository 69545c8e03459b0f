"""What the peer does in Lua: a shared counter for each request."""

import os

from headgate import Gateway, Request

gate = Gateway()
gate.listen(os.environ.get("BENCH_DICT", "127.0.0.1:22017"))
counters = gate.shared("counters", "1m")


@gate.route("/", to=os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))
def access(request: Request) -> None:
    """`access_by_lua`: `ngx.shared.counters:incr("n", 1, 0)`."""
    counters.incr("n")
