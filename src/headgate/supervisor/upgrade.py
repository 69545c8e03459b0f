"""The upgrade: a new supervisor inherits listeners, shared dictionaries, what was counted and the keys of session
tickets, and the old one leaves when it serves.

How it works: the old supervisor runs its own command line again, with the listening sockets, the dictionaries'
memory and one end of a socketpair inherited, and their numbers in `HEADGATE_INHERITED`. What is secret waits for it
on the socketpair. The new one starts its workers; when they accept it says so there. Only then does the old one drain.
If the new one ends before that, nothing has happened.
"""

import json
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from headgate.control.reactor import Reactor
from headgate.supervisor.spawn import spawn_successor

VARIABLE = "HEADGATE_INHERITED"
LIMIT_S = 120.0
SERVING = b"serving"
SERVERS = "servers"
"""What was said of servers, among what waits on the socketpair."""


class Predecessor:
    """The supervisor that started this one, as seen from here."""

    def __init__(
        self,
        listeners: dict[str, list[list[int]]],
        admin_listeners: dict[str, list[list[int]]],
        dictionaries: list[tuple[str, int, int]],
        line: socket.socket,
        metrics: dict[str, Any] | None = None,
    ) -> None:
        self.listeners, self.dictionaries, self.metrics = listeners, dictionaries, metrics
        self.admin_listeners = admin_listeners
        self._line = line
        sent = _secret(line)
        self.servers: list[dict[str, Any]] = sent.pop(SERVERS, []) if sent else []
        """What was said of upstreams' servers."""
        self.ticket_keys = sent
        """What it gave of its `TicketKeys`; None if it is of a version that gives nothing."""

    @classmethod
    def from_environment(cls) -> "Predecessor | None":
        """What `HEADGATE_INHERITED` says; removed from the environment so that no child sees it."""
        text = os.environ.pop(VARIABLE, None)
        if text is None:
            return None
        inherited = json.loads(text)
        os.set_inheritable(inherited["line"], False)
        dictionaries = [(name, size, number) for name, size, number in inherited.get("dictionaries", [])]
        line = socket.socket(fileno=inherited["line"])
        admin, metrics = inherited.get("admin_listeners", {}), inherited.get("metrics")
        return cls(inherited["listeners"], admin, dictionaries, line, metrics)

    def take_over(self) -> None:
        """Tells it that this supervisor serves now."""
        try:
            self._line.send(SERVING)
        except OSError:
            pass  # it has exited already, as it should
        self._line.close()


def _secret(line: socket.socket) -> dict[str, Any] | None:
    """What the predecessor sent before it started this program."""
    try:
        sent: dict[str, Any] = json.loads(line.recv(1 << 17, socket.MSG_DONTWAIT))
    except (OSError, ValueError):
        return None
    return sent


class Successor:
    """The supervisor started by this one; calls `done(self, error)` when it serves (None) or has failed."""

    def __init__(
        self,
        reactor: Reactor,
        listeners: dict[str, list[list[int]]],
        admin_listeners: dict[str, list[list[int]]],
        dictionaries: list[tuple[str, int, int]],
        ticket_keys: dict[str, Any],
        metrics: tuple[dict[str, Any], list[int]],
        done: Callable[["Successor", str | None], None],
    ) -> None:
        self._reactor, self._done = reactor, done
        self.took_over = False
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._line.send(json.dumps(ticket_keys).encode())
            told, counts = metrics
            inherited = {
                "listeners": listeners,
                "admin_listeners": admin_listeners,
                "dictionaries": dictionaries,
                "line": theirs.fileno(),
                "metrics": told,
            }
            every = [*listeners.values(), *admin_listeners.values()]
            sockets = [number for endpoints in every for numbers in endpoints for number in numbers]
            memory = [number for _, _, number in dictionaries]
            self._process = spawn_successor(
                {VARIABLE: json.dumps(inherited)}, [*sockets, *memory, *counts, theirs.fileno()], self._line
            )
        self._timer = reactor.call_later(LIMIT_S, self._too_late)
        reactor.watch(self._line, self._heard)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def _heard(self) -> None:
        try:
            self.took_over = self._line.recv(64) == SERVING
        except OSError:
            self.took_over = False
        self._timer.cancel()
        self._reactor.unwatch(self._line)
        self._line.close()
        if self.took_over:
            return self._done(self, None)
        self._process.signal(signal.SIGKILL)
        status = self._process.reap()
        self._done(self, f"the new program ended with status {status} before it served")

    def _too_late(self) -> None:
        self._process.signal(signal.SIGKILL)  # its end closes the line, which `_heard` notices
