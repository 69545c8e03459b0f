"""A scripted origin server: records the exact bytes it received and responds with exact bytes.

A behaviour is a function that gets a `Call` and does with its connection what it wants. A path without
one (`Origin.on`) gets a JSON description of the request. Ready behaviours are in `behaviours.py`.
"""

import contextlib
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .client import Fields, parse_field
from .net import Address, eventually, reset

PROBE_PATH = "/kit-probe"
"""The path that the kit asks for to learn that a gateway is ready; never recorded."""

Behaviour = Callable[["Call"], None]


class Call:
    """A request that reached the origin, and the connection to respond on."""

    def __init__(
        self, origin: "Origin", connection: socket.socket, connection_number: int, head: bytes, rest: bytes
    ):
        self.origin = origin
        self.socket = connection
        self.connection_number = connection_number
        self.head = head
        self.rest = rest
        lines = head[:-4].decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ", 2)
        self.fields = [parse_field(line) for line in lines[1:]]
        self.body = b""
        self.wire_body = b""
        self.trailers: list[tuple[str, str]] = []
        self.is_body_read = False
        self.is_closed = False
        self.is_failed = False

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def get(self, name: str) -> str | None:
        """The first value of a field."""
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        """All values of a field, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def read_body(self) -> bytes:
        """Reads the whole body, by the request's own framing."""
        if self.is_body_read:
            return self.body
        self.is_body_read = True
        if (self.get("expect") or "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.all("transfer-encoding"):
            self._read_chunked()
        elif length := int(self.get("content-length") or 0):
            self.body = self.wire_body = self._exactly(length)
        return self.body

    def read_some(self, size: int = 65536) -> bytes:
        """Whatever comes next on the connection; empty at its end."""
        if self.rest:
            data, self.rest = self.rest[:size], self.rest[size:]
            return data
        return self.socket.recv(size)

    def send(self, data: bytes) -> None:
        """Sends exactly these bytes."""
        self.socket.sendall(data)

    def respond(
        self, body: bytes = b"", *, status: str = "200 OK", fields: Fields = (), version: str = "1.1"
    ) -> None:
        """Sends a response with a Content-Length."""
        lines = [f"HTTP/{version} {status}", *(f"{name}: {value}" for name, value in fields)]
        lines.append(f"Content-Length: {len(body)}")
        content = b"" if self.method == "HEAD" else body
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + content)

    def close(self) -> None:
        """Closes the connection softly."""
        self.is_closed = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def reset(self) -> None:
        """Cuts the connection with RST."""
        self.is_closed = True
        reset(self.socket)

    def hang(self) -> None:
        """Says nothing until the peer (or the origin's stop) closes the connection."""
        with contextlib.suppress(OSError):
            while piece := self.socket.recv(65536):
                self.rest += piece
        self.close()

    def hang_without_reading(self) -> None:
        """Says nothing and reads nothing until the origin's stop, or until the peer has cut the connection."""
        events = select.poll()
        events.register(self.socket, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        events.poll(60_000)
        self.close()

    def _exactly(self, size: int) -> bytes:
        pieces, have = [self.rest], len(self.rest)
        while have < size:
            piece = self.socket.recv(1 << 18)
            if not piece:
                self.body = b"".join(pieces)
                raise ConnectionError(f"the body ended after {have} of {size} bytes")
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
        self.rest = data[size:]
        return data[:size]

    def _line(self) -> bytes:
        while (at := self.rest.find(b"\r\n")) < 0:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError(f"the connection ended within {self.rest!r}")
            self.rest += piece
        line, self.rest = self.rest[: at + 2], self.rest[at + 2 :]
        return line

    def _read_chunked(self) -> None:
        wire: list[bytes] = []
        body: list[bytes] = []
        try:
            while size := int((line := self._line()).split(b";")[0], 16):
                data = self._exactly(size + 2)
                wire += [line, data]
                body.append(data[:-2])
            wire.append(line)
            while (line := self._line()) != b"\r\n":
                wire.append(line)
                self.trailers.append(parse_field(line[:-2].decode("latin-1")))
            wire.append(line)
        finally:
            self.body, self.wire_body = b"".join(body), b"".join(wire)


class Origin:
    """An origin server in threads, on a free port of `host` or on a Unix socket."""

    def __init__(
        self,
        *,
        path: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.tls = tls
        self.calls: list[Call] = []
        self.connection_count = 0
        self.handshake_errors: list[str] = []
        self.received = b""
        """Every byte that came, on all connections, probes apart."""
        self._behaviours: dict[str, Behaviour] = {}
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_stopped = False
        if path is not None:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self.address: Address = f"unix:{path}"
        else:
            self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((host, port))
            port = self._listener.getsockname()[1]
            self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._listener.listen(512)
        self._thread = threading.Thread(target=self._accept, name=f"origin {self.address}", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Origin":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def on(self, path: str, behaviour: Behaviour) -> None:
        """Sets the behaviour for a path (without query)."""
        self._behaviours[path] = behaviour

    def clear(self) -> None:
        """Forgets what was recorded; behaviours and connections stay."""
        with self._lock:
            self.calls = []
            self.received = b""

    def at(self, path: str) -> list[Call]:
        """The calls of a path, in order."""
        with self._lock:
            return [call for call in self.calls if call.path == path]

    def wait_for(self, path: str, count: int = 1, *, within: float = 10) -> Call:
        """The `count`th call of a path, waited for."""
        return eventually(lambda: self.at(path)[count - 1 : count], f"call {count} of {path}", within=within)[
            0
        ]

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        with self._lock:
            return len(self._open)

    def drop_connections(self) -> None:
        """Closes every open connection, as a server that restarts does."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        eventually(lambda: not self.open_connections, "the origin's connections are closed")

    def stop(self) -> None:
        """Closes the listener and every connection."""
        self._is_stopped = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=10)

    def _accept(self) -> None:
        while not self._is_stopped:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connection_count += 1
                number = self.connection_count
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        buffer = b""
        try:
            if self.tls:
                connection = self._secure(connection, self.tls)
            while True:
                while (end := buffer.find(b"\r\n\r\n")) < 0:
                    piece = connection.recv(1 << 16)
                    if not piece:
                        with self._lock:
                            self.received += buffer
                        return
                    buffer += piece
                call = Call(self, connection, number, buffer[: end + 4], buffer[end + 4 :])
                self._respond(call)
                if call.is_closed:
                    return
                buffer = call.rest
        except (OSError, ValueError):
            with self._lock:
                self.received += buffer
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _secure(self, plain: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
        plain.settimeout(30)
        with self._lock:
            self._open.discard(plain)
        try:
            secured = tls.wrap_socket(plain, server_side=True)
        except ssl.SSLError as error:
            self.handshake_errors.append(str(error))
            plain.close()
            raise
        with self._lock:
            self._open.add(secured)
        return secured

    def _respond(self, call: Call) -> None:
        if call.path == PROBE_PATH:
            call.respond(b"ready")
            return
        with self._lock:
            self.calls.append(call)
        try:
            self._behaviours.get(call.path, describe)(call)
            if not call.is_closed:
                call.read_body()
        except BaseException:
            call.is_failed = True
            raise
        finally:
            with self._lock:
                self.received += call.head + call.wire_body


def describe(call: Call) -> None:
    """Responds with a JSON description of the request."""
    call.read_body()
    description: dict[str, Any] = {
        "method": call.method,
        "target": call.target,
        "version": call.version,
        "fields": call.fields,
        "body": call.body[:65536].decode("latin-1"),
        "origin": call.origin.address,
        "connection": call.connection_number,
    }
    call.respond(json.dumps(description).encode(), fields=[("Content-Type", "application/json")])
