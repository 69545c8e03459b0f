"""A hook sees each chunk of a long response and leaves it as it is."""

import os

from headgate import Gateway, Request, ResponseView

gate = Gateway()
gate.listen(os.environ.get("BENCH_CHUNKS", "127.0.0.1:22021"))
route = gate.route("/", to=os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))


@route.response_body
def count(request: Request, response: ResponseView, chunk: bytes, last: bool) -> None:
    """Counts what goes by."""
    request.state.seen = getattr(request.state, "seen", 0) + len(chunk)
