"""The supervisor's control socket: takes commands from `headgate status`, `stop`, `reload` and `upgrade`."""

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headgate.process.reactor import Reactor

LONGEST_COMMAND_BYTES = 4096
PATIENCE_S = 5.0

Answer = Callable[[dict[str, Any]], None]
Handler = Callable[[str, Answer], None]


class Endpoint:
    """Listens at `path`; calls `handler(command, answer)` for each request. The answer may come later."""

    def __init__(self, reactor: Reactor, path: Path, handler: Handler) -> None:
        self._reactor, self._path, self._handler = reactor, path, handler
        path.unlink(missing_ok=True)
        self._listener = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(16)
        reactor.watch(self._listener, self._accept)

    def close(self) -> None:
        """Stops listening and removes the socket's file."""
        self._reactor.unwatch(self._listener)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            line, _ = self._listener.accept()
        except OSError:
            return
        if _peer_uid(line) not in (0, os.geteuid()):
            line.close()
            return
        line.setblocking(False)
        _Caller(self._reactor, line, self._handler)


class _Caller:
    """One connection: reads a line, answers with a line, closes."""

    def __init__(self, reactor: Reactor, line: socket.socket, handler: Handler) -> None:
        self._reactor, self._line, self._handler = reactor, line, handler
        self._read = bytearray()
        self._patience = reactor.call_later(PATIENCE_S, self._close)
        reactor.watch(line, self._readable)

    def _readable(self) -> None:
        try:
            data = self._line.recv(LONGEST_COMMAND_BYTES)
        except BlockingIOError:
            return
        except OSError:
            return self._close()
        self._read += data
        if not data or len(self._read) > LONGEST_COMMAND_BYTES:
            return self._close()
        if self._read.endswith(b"\n"):
            self._patience.cancel()
            self._reactor.unwatch(self._line)
            try:
                command = str(json.loads(self._read)["command"])
            except (ValueError, KeyError, TypeError):
                return self.answer({"ok": False, "error": "not a command"})
            self._handler(command, self.answer)

    def answer(self, content: dict[str, Any]) -> None:
        """Sends the answer; a caller that has left or does not read loses it."""
        with contextlib.suppress(OSError):
            self._line.settimeout(0.5)
            self._line.sendall(json.dumps(content).encode() + b"\n")
        self._close()

    def _close(self) -> None:
        self._patience.cancel()
        self._reactor.unwatch(self._line)
        self._line.close()


def _peer_uid(line: socket.socket) -> int:
    _, uid, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)
