"""A streamed response: an async generator, sent as fast as the client reads and closed when the client disconnects."""

import asyncio
import json
from collections.abc import AsyncIterator

from headgate import Gateway, Request, Response

gate = Gateway()
gate.listen("127.0.0.1:8080")


async def ticks(count: int) -> AsyncIterator[bytes]:
    """One server-sent event every tenth of a second."""
    for number in range(count):
        yield f"data: {json.dumps({'tick': number})}\n\n".encode()
        await asyncio.sleep(0.1)


@gate.route("/ticks/{count}")
def stream(request: Request) -> Response:
    """Sends the head at once, and then each event."""
    count = request.params["count"]
    if not (count.isascii() and count.isdigit() and len(count) < 5):
        return Response.text("how many? at most 9999\n", 400)
    return Response.stream(ticks(int(count)), content_type="text/event-stream")
