"""Ready behaviours for the scripted origin."""

import hashlib
import threading
from collections.abc import Callable, Sequence

from .client import Fields
from .origin import Behaviour, Call


def reply(
    body: bytes = b"ok", *, status: str = "200 OK", fields: Fields = (), version: str = "1.1"
) -> Behaviour:
    """Reads the request and responds with a Content-Length."""
    fields = list(fields)

    def behaviour(call: Call) -> None:
        call.read_body()
        call.respond(body, status=status, fields=fields, version=version)

    return behaviour


def raw(*pieces: bytes, then: str = "keep") -> Behaviour:
    """Reads the request, sends these bytes, then goes on (`keep`), `close`s, `reset`s or `hang`s."""

    def behaviour(call: Call) -> None:
        call.read_body()
        for piece in pieces:
            call.send(piece)
        finish(call, then)

    return behaviour


def raw_early(*pieces: bytes, then: str = "keep") -> Behaviour:
    """As `raw`, without reading the request's body first."""

    def behaviour(call: Call) -> None:
        for piece in pieces:
            call.send(piece)
        finish(call, then)

    return behaviour


def finish(call: Call, then: str) -> None:
    """Ends a call: `keep`, `close`, `reset` or `hang`."""
    actions: dict[str, Callable[[], None]] = {
        "keep": lambda: None,
        "close": call.close,
        "reset": call.reset,
        "hang": call.hang,
    }
    actions[then]()


def hang(call: Call) -> None:
    """Reads the request and never responds."""
    call.read_body()
    call.hang()


def chunked(pieces: Sequence[bytes], trailers: Fields = (), fields: Fields = ()) -> Behaviour:
    """Responds with a chunked body, one chunk a piece, and trailers."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{lines}\r\n".encode()
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    end = "".join(f"{name}: {value}\r\n" for name, value in trailers)
    return raw(head + body + f"0\r\n{end}\r\n".encode())


def until_close(body: bytes, *, version: str = "1.1") -> Behaviour:
    """Responds with a body that ends with the connection."""
    return raw(f"HTTP/{version} 200 OK\r\nConnection: close\r\n\r\n".encode() + body, then="close")


def gated(gate: threading.Event, first: bytes, second: bytes) -> Behaviour:
    """Sends `first`, waits for the event (at most 30 s), sends `second`."""

    def behaviour(call: Call) -> None:
        call.read_body()
        call.send(first)
        gate.wait(30)
        call.send(second)

    return behaviour


def upgrade_echo(call: Call) -> None:
    """Switches protocols and echoes bytes until the peer ends, then says `bye` and closes."""
    protocol = call.get("upgrade") or "echo"
    head = f"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\nX-Kept: yes\r\n\r\n"
    call.send(head.encode())
    while data := call.read_some():
        call.send(data)
    call.send(b"bye")
    call.close()


def digest(call: Call) -> None:
    """Responds with the SHA-256 of the request's body."""
    call.respond(hashlib.sha256(call.read_body()).hexdigest().encode())
