"""Each request waits for a second in its hook."""

import asyncio
import os

from headgate import Gateway, Request, Response

gate = Gateway()
gate.listen(os.environ.get("BENCH_WAITING", "127.0.0.1:22026"))


@gate.route("/")
async def wait(request: Request) -> Response:
    """`ngx.sleep(1)`."""
    await asyncio.sleep(1)
    return Response(200, "done")
