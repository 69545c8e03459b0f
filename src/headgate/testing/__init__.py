"""The test kit: a gateway in a test, with the real engine, without ports, with functions in place of servers.

How it works: `TestGateway` runs the engine and asyncio's loop in the test's own thread, whenever a call of its asks for
something. Clients come in through streams in memory; the servers of all upstreams are replaced by the test's, whose
sockets are files of a temporary folder. So everything between the client's bytes and the server's is as in service.
`LiveGateway` is the same in a thread of its own, on real ports, for clients that need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .gateway import HookRaised, Pending, TestGateway
    from .live import LiveGateway
    from .messages import AttemptRecord, ExchangeRecord, Fields, Received, TestResponse
    from .servers import Fault, Server
    from .single_hook import run_hook
    from .websocket import AsyncWebSocket, WebSocketClient, WebSocketClosed, WebSocketRefused, WebSocketServer

__all__ = [
    "AsyncWebSocket",
    "AttemptRecord",
    "ExchangeRecord",
    "Fault",
    "Fields",
    "HookRaised",
    "LiveGateway",
    "Pending",
    "Received",
    "Server",
    "TestGateway",
    "TestResponse",
    "WebSocketClient",
    "WebSocketClosed",
    "WebSocketRefused",
    "WebSocketServer",
    "run_hook",
]

_MODULES = {
    "AttemptRecord": "messages",
    "Fault": "servers",
    "Fields": "messages",
    "HookRaised": "gateway",
    "LiveGateway": "live",
    "Pending": "gateway",
    "Received": "messages",
    "ExchangeRecord": "messages",
    "TestResponse": "messages",
    "Server": "servers",
    "TestGateway": "gateway",
    "AsyncWebSocket": "websocket",
    "WebSocketClient": "websocket",
    "WebSocketClosed": "websocket",
    "WebSocketRefused": "websocket",
    "WebSocketServer": "websocket",
    "run_hook": "single_hook",
}


def __getattr__(name: str) -> Any:
    """Loads what is asked for: pytest imports this package for its fixtures in every run."""
    if name not in _MODULES:
        raise AttributeError(f"module `headgate.testing` has no attribute `{name}`")
    import importlib

    found = getattr(importlib.import_module(f"headgate.testing.{_MODULES[name]}"), name)
    globals()[name] = found
    return found
