"""An ASGI application beside proxied routes: its responses pass the gateway's hooks, its WebSockets too."""

import json
import os

from headgate import Gateway, Response

gate = Gateway()
gate.listen(os.environ.get("LISTEN", "127.0.0.1:8080"))


async def status(scope, receive, send):
    """Any ASGI 3 application: FastAPI() would do as well."""
    if scope["type"] != "http":
        raise ValueError(f"unknown scope type `{scope['type']}`")
    body = json.dumps({"path": scope["path"], "below": scope["root_path"]}).encode()
    fields = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})


admin = gate.mount("/admin", status)
gate.route("/", to=os.environ.get("ORIGIN", "127.0.0.1:9000"))


@admin.request
def only_from_here(request):
    if not request.client.address.startswith("127."):
        return Response(403, "not from outside")
