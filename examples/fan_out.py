"""One request becomes several, side by side, and their responses one response; what fails is named, not fatal."""

import asyncio
import os

import headgate
from headgate import Gateway, Response

gate = Gateway()
gate.listen(os.environ.get("LISTEN", "127.0.0.1:8080"))
origin = os.environ.get("ORIGIN", "127.0.0.1:9000")
parts = {name: gate.upstream(name, origin) for name in ("users", "orders", "stock")}


async def ask(name, upstream, headers):
    try:
        response = await upstream.fetch(f"/{name}", headers=headers, timeout=2)
        return name, await response.json() if response.ok else {"error": response.status}
    except (headgate.FetchError, ValueError) as error:
        return name, {"error": type(error).__name__}


@gate.route("/overview")
async def overview(request):
    headers = {"x-request-id": request.id}
    responses = await asyncio.gather(*(ask(name, upstream, headers) for name, upstream in parts.items()))
    try:
        return Response.json(dict(responses))
    except ValueError:  # `1e999` can be read, and cannot be written
        return Response(502, "what the parts say does not fit into one response\n")
