"""An A/B split: a cookie keeps each visitor with one version; the responses of each version are counted."""

import os
import uuid
import zlib

from headgate import Gateway, Request, Response, ResponseView

gate = Gateway()
gate.listen(os.environ.get("LISTEN", "127.0.0.1:8080"))
gate.upstream("a", os.environ.get("A", "127.0.0.1:9000"))
gate.upstream("b", os.environ.get("B", "127.0.0.1:9001"))
PERCENT_B = int(os.environ.get("PERCENT_B", "20"))
counts = gate.shared("ab", "1m")


@gate.route("/", to="a")
def split(request: Request) -> None:
    """The same visitor always falls on the same side."""
    known = request.cookies.get("visitor")
    request.state.new_visitor = None if known else uuid.uuid4().hex
    visitor = known or request.state.new_visitor
    request.upstream = "b" if zlib.crc32(visitor.encode(errors="replace")) % 100 < PERCENT_B else "a"


@split.response
def remember(request: Request, response: ResponseView) -> None:
    """Names new visitors, and counts."""
    counts.incr(f"{request.upstream} {response.status // 100}xx")
    if request.state.new_visitor:
        cookie = f"visitor={request.state.new_visitor}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
        response.headers.add("set-cookie", cookie)


@gate.route("/_ab")
def show(request: Request) -> Response:
    """How the versions do."""
    return Response.json({key: counts.get(key) for key in counts})
