"""A stub of a registry's HTTP API: responds as a test says, and keeps connections open while more is to come.

What it says in tests of Kubernetes and Docker was written after their API references, not recorded from a cluster.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Asked:
    """One request, and the means to respond to it."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler
        parts = urlsplit(handler.path)
        self.path = parts.path
        self.query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.queries = parse_qs(parts.query)
        self.fields = {name.lower(): value for name, value in handler.headers.items()}

    def respond(self, body: Any, status: int = 200, **fields: str) -> None:
        """A whole response of JSON."""
        data = json.dumps(body).encode()
        self._handler.send_response(status)
        for name, value in {**fields, "content-length": str(len(data))}.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self._handler.wfile.write(data)

    def begin(self) -> None:
        """A response of lines that come one by one."""
        self._handler.send_response(200)
        self._handler.send_header("transfer-encoding", "chunked")
        self._handler.end_headers()

    def line(self, event: Any) -> None:
        """One more line."""
        data = json.dumps(event).encode() + b"\n"
        self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self._handler.wfile.flush()

    def end(self) -> None:
        """No more lines."""
        self._handler.wfile.write(b"0\r\n\r\n")


class Registry:
    """Serves `respond` for each request, in a thread each."""

    def __init__(self, respond: Callable[[Asked], None], *, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.over = threading.Event()
        """Set at the end, for what waits."""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                one = Asked(self)
                registry.asked.append(one)
                self.close_connection = True
                try:
                    respond(one)
                except OSError:
                    pass

            def log_message(self, format: str, *arguments: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.socket.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
