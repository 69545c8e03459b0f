"""The supervisor's side of the process that workers are forked from; see `headgate.worker.zygote`."""

import os
import signal
import socket
from collections import deque
from collections.abc import Callable

from headgate.control.channel import Channel, ChannelClosed
from headgate.control.messages import FROM_ZYGOTE, Fork, Forked, Reap, Reaped
from headgate.control.reactor import Reactor
from headgate.control.records import Message
from headgate.supervisor.spawn import Process, spawn

REAP_LIMIT_S = 5.0
MODULE = "headgate.worker"


class ForkedWorker:
    """A worker: its id, a descriptor that becomes readable when it ends, and our end of its channel."""

    def __init__(self, zygote: "Zygote", pid: int, pidfd: int, end: socket.socket) -> None:
        self._zygote = zygote
        self.pid, self.pidfd, self.end = pid, pidfd, end

    def signal(self, number: int) -> None:
        """Sends a signal; a process that has exited already is ignored."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass

    def reap(self) -> int | None:
        """Collects the ended process: its exit code, or minus the signal that killed it; None if it is not known."""
        os.close(self.pidfd)
        return self._zygote.reap(self.pid)


class Zygote:
    """Forks the workers of one generation; each `fork` calls back when there is one, with None if there is none."""

    def __init__(self, *, is_plain: bool) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process: Process = spawn(MODULE, ["plain"] if is_plain else [], theirs, ours)
        self._channel = Channel(ours, FROM_ZYGOTE)
        self._waiting: deque[tuple[socket.socket, Callable[[ForkedWorker | None], None]]] = deque()
        self._reactor: Reactor | None = None
        self.is_alive = True

    def fork(self, reactor: Reactor, done: Callable[[ForkedWorker | None], None]) -> None:
        """Asks for a worker; `done` is called from the reactor."""
        if self._reactor is None:
            self._reactor = reactor
            self._channel.socket.setblocking(False)
            reactor.watch(self._channel, self._on_readable)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._waiting.append((ours, done))
        with theirs:
            try:
                self._channel.send(Fork(), [theirs.fileno()])
            except ChannelClosed:
                pass  # `_on_readable` notices, too

    def reap(self, pid: int) -> int | None:
        """Collects a worker that has ended; its exit code, or minus the signal. None: this process has ended, too."""
        if not self.is_alive:
            return None
        self._channel.socket.settimeout(REAP_LIMIT_S)
        try:
            self._channel.send(Reap(pid=pid))
            while True:
                message, descriptors = self._channel.receive()
                if isinstance(message, Reaped):
                    return message.status
                self._on_message(message, descriptors)
        except (OSError, ValueError):  # it has exited, or does not respond
            return None
        finally:
            self._channel.socket.setblocking(False)

    def close(self) -> None:
        """No more workers: it ends."""
        if not self.is_alive:
            return
        self.is_alive = False
        if self._reactor:
            self._reactor.unwatch(self._channel)
        self._channel.close()
        for end, _ in self._waiting:
            end.close()  # a worker that was forked nevertheless finds its channel closed, and exits
        self._waiting.clear()
        self._process.reap()

    def _on_readable(self) -> None:
        try:
            self._on_message(*self._channel.receive())
        except BlockingIOError:
            return
        except (OSError, ValueError):
            failed = list(self._waiting)
            self._process.signal(signal.SIGKILL)
            self.close()
            for _, done in failed:
                done(None)

    def _on_message(self, message: Message, descriptors: list[int]) -> None:
        if isinstance(message, Forked):
            end, done = self._waiting.popleft()
            done(ForkedWorker(self, message.pid, descriptors[0], end))
