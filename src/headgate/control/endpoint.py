"""The supervisor's control socket: takes commands (see `commands`), one line each, and replies with one line each."""

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

from headgate.control.commands import COMMANDS, Refused
from headgate.control.reactor import Reactor
from headgate.control.records import Message, MessageError

LONGEST_COMMAND_BYTES = 4096
PATIENCE_S = 5.0

LINE_BUFFER_BYTES = 1 << 20

Respond = Callable[[Message], None]
"""Takes the one reply to a command."""
Handler = Callable[[Message, Respond], None]
Followers = Mapping[type[Any], "Callable[[Any, Line], None]"]
"""Commands whose reply is many lines, until either side ends it, and their handlers."""


class Endpoint:
    """Listens at `path`; calls `handler(command, respond)` for each request. The reply may come later.

    A command of `followers` gets the line itself instead.
    """

    def __init__(
        self,
        reactor: Reactor,
        path: str,
        handler: Handler,
        followers: Followers | None = None,
    ) -> None:
        self._reactor, self._path, self._handler = reactor, path, handler
        self._followers = followers or {}
        self._listener = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        # Appears under its name only once it listens: whoever sees the file can connect.
        partial = f"{path}.new"
        _remove(partial)
        self._listener.bind(partial)
        os.chmod(partial, 0o600)
        self._listener.listen(16)
        os.replace(partial, path)
        reactor.watch(self._listener, self._accept)

    def close(self) -> None:
        """Stops listening and removes the socket's file."""
        self._reactor.unwatch(self._listener)
        self._listener.close()
        _remove(self._path)

    def _accept(self) -> None:
        try:
            line, _ = self._listener.accept()
        except OSError:
            return
        if _peer_uid(line) not in (0, os.geteuid()):
            line.close()
            return
        line.setblocking(False)
        _Caller(self._reactor, line, self._handler, self._followers)


class _Caller:
    """One connection: reads a line, replies with a line, closes."""

    def __init__(self, reactor: Reactor, line: socket.socket, handler: Handler, followers: Followers) -> None:
        self._reactor, self._line, self._handler, self._followers = reactor, line, handler, followers
        self._read = bytearray()
        self._descriptors: list[int] = []
        self._patience = reactor.call_later(PATIENCE_S, self._close)
        reactor.watch(line, self._readable)

    def _readable(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._line, LONGEST_COMMAND_BYTES, 1)
        except BlockingIOError:
            return
        except OSError:
            return self._close()
        self._descriptors += descriptors
        self._read += data
        if not data or len(self._read) > LONGEST_COMMAND_BYTES:
            return self._close()
        if self._read.endswith(b"\n"):
            self._patience.cancel()
            self._reactor.unwatch(self._line)
            try:
                command = COMMANDS.decode(self._read)
            except MessageError as error:
                return self.respond(Refused(error=str(error)))
            if follower := self._followers.get(type(command)):
                descriptors, self._descriptors = self._descriptors, []
                return follower(command, Line(self._reactor, self._line, descriptors))
            self._handler(command, self.respond)
        return None

    def respond(self, reply: Message) -> None:
        """Sends the reply; a caller that has left or does not read loses it."""
        with contextlib.suppress(OSError):
            self._line.settimeout(0.5)
            self._line.sendall(reply.encode() + b"\n")
        self._close()

    def _close(self) -> None:
        self._patience.cancel()
        self._reactor.unwatch(self._line)
        self._line.close()
        _close_all(self._descriptors)


class Line:
    """A connection that gets one line after another as its reply. A reader that does not keep up is cut off."""

    def __init__(self, reactor: Reactor, line: socket.socket, descriptors: list[int]) -> None:
        self._reactor, self._line = reactor, line
        self.descriptors = descriptors
        """What came with the command; closed with the line."""
        self._leave: Callable[[], None] | None = None
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LINE_BUFFER_BYTES)
        line.setblocking(False)
        reactor.watch(line, self._readable)

    def on_leave(self, call: Callable[[], None]) -> None:
        """Calls back when the caller has disconnected, or was disconnected."""
        self._leave = call

    def send(self, message: Message) -> None:
        """Sends a line."""
        data = message.encode() + b"\n"
        try:
            is_sent = self._line.send(data) == len(data)
        except OSError:
            is_sent = False
        if not is_sent:
            self._gone()

    def close(self, message: Message) -> None:
        """Sends the last line."""
        self._leave = None
        self.send(message)
        self._gone()

    def hang_up(self) -> None:
        """Closes it without another word."""
        self._gone()

    def _readable(self) -> None:
        try:
            if self._line.recv(LONGEST_COMMAND_BYTES):
                return  # nothing more was asked for
        except BlockingIOError:
            return
        except OSError:
            pass
        self._gone()

    def _gone(self) -> None:
        self._reactor.unwatch(self._line)
        self._line.close()
        _close_all(self.descriptors)
        leave, self._leave = self._leave, None
        if leave:
            leave()


def _close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def _peer_uid(line: socket.socket) -> int:
    _, uid, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
