"""What an application is told about a connection (ASGI 3.0, HTTP and WebSocket specification 2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from headgate._core import asgi_fields
from headgate._digits import whole_number

if TYPE_CHECKING:
    from headgate._core import Request

ASGI = {"version": "3.0", "spec_version": "2.4"}


def http_scope(request: Request, root_path: str, state: dict[str, Any]) -> dict[str, Any]:
    """The scope of an HTTP request."""
    return {
        "type": "http",
        "method": request.method.upper(),
        "scheme": request.scheme,
        "extensions": {},
        **_connection(request, root_path, state),
    }


def websocket_scope(
    request: Request, root_path: str, state: dict[str, Any], subprotocols: list[str]
) -> dict[str, Any]:
    """The scope of a WebSocket."""
    return {
        "type": "websocket",
        "scheme": "wss" if request.scheme == "https" else "ws",
        "subprotocols": subprotocols,
        "extensions": {"websocket.http.response": {}},
        **_connection(request, root_path, state),
    }


def _connection(request: Request, root_path: str, state: dict[str, Any]) -> dict[str, Any]:
    path, client = request.path, request.client
    return {
        "asgi": ASGI,
        "http_version": request.version,
        "path": unquote(path) if "%" in path else path,
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": request.query.encode("utf-8", "surrogateescape"),
        "root_path": root_path,
        "headers": asgi_fields(request),
        "client": (client.address, client.port),
        "server": _server(request),
        "state": state.copy(),
    }


def _server(request: Request) -> tuple[str, int | None]:
    host, colon, port = request.host.rpartition(":")
    if colon and (number := whole_number(port)) is not None:
        return host, number
    return request.host, 443 if request.scheme == "https" else 80
