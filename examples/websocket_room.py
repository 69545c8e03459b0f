"""Hooks on WebSocket messages: who floods is closed, what must not be said is changed, and a room is spoken to."""

import time
from collections import defaultdict

from headgate import Gateway, Request, ResponseView, WebSocket, WebSocketMessage

MOST_PER_SECOND = 20
HIDDEN = ("password", "secret")

gate = Gateway()
gate.listen("127.0.0.1:8080")
gate.websocket(max_message_bytes="64k", idle="10m")
rooms: dict[str, set[WebSocket]] = defaultdict(set)
chat = gate.route("/chat/{room}", to="127.0.0.1:9000", name="chat")


@chat.response
def enter(request: Request, response: ResponseView) -> None:
    """The server has taken the WebSocket in."""
    if response.status == 101:
        rooms[request.params["room"]].add(request.websocket)
        request.state.heard = []


@chat.log
def leave(request: Request, response: ResponseView) -> None:
    """However it ended."""
    name = request.params["room"]
    rooms[name].discard(request.websocket)
    if not rooms[name]:
        del rooms[name]  # clients make up names


@chat.websocket_message
def moderate(request: Request, message: WebSocketMessage) -> str | list[str] | None:
    """What the client says; what the server says goes on as it is."""
    if not message.from_client or isinstance(message.data, bytes):
        return None
    now = time.monotonic()
    request.state.heard = [at for at in request.state.heard if at > now - 1] + [now]
    if len(request.state.heard) > MOST_PER_SECOND:
        request.websocket.close(1008, "too fast")
        return []
    if message.data.startswith("/all "):
        for websocket in rooms[request.params["room"]]:
            websocket.to_client(message.data.removeprefix("/all "))
        return []
    return None if not any(word in message.data for word in HIDDEN) else "(hidden)"
