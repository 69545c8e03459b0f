"""A plain ASGI application that responds with 5 KB, for every server alike."""

from typing import Any

BODY = b"x" * 5120
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", str(len(BODY)).encode())]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Responds to every request."""
    if scope["type"] != "http":
        raise ValueError(f"unknown scope type `{scope['type']}`")
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
