"""A raw HTTP/1 client: sends exactly the bytes it is given and keeps exactly the bytes it got."""

import json
import select
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .net import Address, connect, reset

Fields = Iterable[tuple[str, str]]


@dataclass
class RawResponse:
    """A response as it came over the wire."""

    version: str
    status: int
    reason: str
    fields: list[tuple[str, str]]
    head: bytes
    body: bytes = b""
    wire_body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    interim: list["RawResponse"] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """The first value of a field."""
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        """All values of a field, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class RawClient:
    """One client connection."""

    def __init__(self, address: Address, timeout: float = 10, *, receive_buffer: int | None = None) -> None:
        self.socket = connect(address, timeout, receive_buffer=receive_buffer)
        self.buffer = b""

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        """A test that fails may leave its connections behind."""
        if hasattr(self, "socket"):
            self.socket.close()

    def send(self, data: bytes) -> None:
        """Sends exactly these bytes."""
        self.socket.sendall(data)

    def half_close(self) -> None:
        """Ends the sending side only."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Closes both sides softly."""
        self.socket.close()

    def reset(self) -> None:
        """Cuts the connection with RST."""
        reset(self.socket)

    def request(
        self,
        method: str,
        target: str,
        fields: Fields = (),
        body: bytes | None = None,
        *,
        host: str = "gate.test",
    ) -> RawResponse:
        """Sends a request with a Content-Length (if it has a body) and reads the final response."""
        self.send(format_request(method, target, fields, body, host=host))
        return self.response(method)

    def get(self, target: str, fields: Fields = (), *, host: str = "gate.test") -> RawResponse:
        """A GET."""
        return self.request("GET", target, fields, host=host)

    def response(self, method: str = "GET") -> RawResponse:
        """Reads a final response to a request of this method, its interim ones beside it."""
        interim: list[RawResponse] = []
        while True:
            head = self.head()
            if head.status >= 200 or head.status == 101:
                break
            interim.append(head)
        head.interim = interim
        if method != "HEAD" and head.status not in (101, 204, 304):
            self._read_body(head)
        return head

    def head(self) -> RawResponse:
        """Reads one response head, also an interim one, and nothing after it."""
        head = self.read_until(b"\r\n\r\n")
        lines = head[:-4].decode("latin-1").split("\r\n")
        version, status, reason = lines[0].split(" ", 2)
        return RawResponse(version, int(status), reason, [parse_field(line) for line in lines[1:]], head)

    def read_until(self, end: bytes) -> bytes:
        """The bytes up to and with `end`."""
        while (at := self.buffer.find(end)) < 0:
            self._fill()
        data, self.buffer = self.buffer[: at + len(end)], self.buffer[at + len(end) :]
        return data

    def read_exactly(self, size: int) -> bytes:
        """This many bytes."""
        pieces = [self.buffer]
        have = len(self.buffer)
        while have < size:
            piece = self.socket.recv(1 << 18)
            if not piece:
                raise ConnectionError(f"closed after {have} of {size} bytes: {b''.join(pieces)[-200:]!r}")
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
        self.buffer = data[size:]
        return data[:size]

    def read_to_end(self) -> bytes:
        """All bytes until the peer closes; a reset counts as the end."""
        pieces = [self.buffer]
        self.buffer = b""
        try:
            while piece := self.socket.recv(1 << 18):
                pieces.append(piece)
        except ConnectionError:
            pass
        return b"".join(pieces)

    def is_closed(self, within: float = 5) -> bool:
        """Whether the peer closes (or resets) within this time, without another byte."""
        if self.buffer:
            return False
        self.socket.settimeout(within)
        try:
            piece = self.socket.recv(1 << 16)
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        self.buffer += piece
        return not piece

    def is_silent(self, for_seconds: float) -> bool:
        """Whether nothing comes, not even an end, for this long."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return not self.buffer and not poll.poll(for_seconds * 1000)

    def _fill(self) -> None:
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise ConnectionError(f"closed by the peer after {self.buffer[-200:]!r}")
        self.buffer += piece

    def _read_body(self, response: RawResponse) -> None:
        lengths = response.all("content-length")
        if codings := response.all("transfer-encoding"):
            assert codings == ["chunked"] and not lengths, response.head
            self._read_chunked(response)
        elif lengths:
            assert len(lengths) == 1, response.head
            response.body = response.wire_body = self.read_exactly(int(lengths[0]))
        else:
            assert response.version == "HTTP/1.0" or response.get("connection") == "close", response.head
            response.body = response.wire_body = self.read_to_end()

    def _read_chunked(self, response: RawResponse) -> None:
        wire: list[bytes] = []
        body: list[bytes] = []
        while True:
            line = self.read_until(b"\r\n")
            size = int(line.split(b";")[0], 16)
            wire.append(line)
            if size == 0:
                break
            data = self.read_exactly(size + 2)
            assert data.endswith(b"\r\n"), data[-10:]
            wire.append(data)
            body.append(data[:-2])
        while (line := self.read_until(b"\r\n")) != b"\r\n":
            wire.append(line)
            response.trailers.append(parse_field(line[:-2].decode("latin-1")))
        wire.append(b"\r\n")
        response.body, response.wire_body = b"".join(body), b"".join(wire)


class TlsClient(RawClient):
    """One client connection over TLS; `server_name` is asked for and verified."""

    socket: ssl.SSLSocket

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext,
        server_name: str | None = "gate.test",
        *,
        session: ssl.SSLSession | None = None,
        timeout: float = 10,
    ) -> None:
        super().__init__(address, timeout)
        plain = self.socket
        try:
            self.socket = context.wrap_socket(
                plain, server_hostname=server_name, session=session, suppress_ragged_eofs=False
            )
        except BaseException:
            plain.close()
            raise

    @property
    def certificate(self) -> bytes:
        """The server's certificate (DER)."""
        return self.socket.getpeercert(binary_form=True) or b""


def fetch(
    address: Address,
    target: str,
    fields: Fields = (),
    *,
    method: str = "GET",
    body: bytes | None = None,
    host: str = "gate.test",
    timeout: float = 10,
) -> RawResponse:
    """One request on a connection of its own."""
    with RawClient(address, timeout) as client:
        return client.request(method, target, fields, body, host=host)


def format_request(
    method: str, target: str, fields: Fields = (), body: bytes | None = None, *, host: str = "gate.test"
) -> bytes:
    """The bytes of an HTTP/1.1 request."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in fields)]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def parse_field(line: str) -> tuple[str, str]:
    """A field line's name and value."""
    name, colon, value = line.partition(":")
    assert colon, line
    return name, value.strip()
