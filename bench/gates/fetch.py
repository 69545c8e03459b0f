"""`content_by_lua` with `ngx.location.capture`: the response is what the hook fetches from the origin."""

import os

from headgate import Gateway, Request, Response

gate = Gateway()
gate.listen(os.environ.get("BENCH_FETCH", "127.0.0.1:22022"))
origin = gate.upstream("origin", os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))


@gate.route("/")
async def captured(request: Request) -> Response:
    """Asks the origin and responds with its body."""
    response = await origin.fetch(request.path)
    return Response(response.status, await response.body())
