"""A process that the supervisor keeps beside its workers, such as the agent: its line, its end, its replacement."""

import logging
import signal
import socket
import time
from collections.abc import Callable

from headgate.control.channel import Channel, ChannelClosed
from headgate.control.reactor import Reactor, TimerHandle
from headgate.control.records import Message, MessageError, MessageKinds
from headgate.supervisor.backoff import exits_in_a_row, restart_delay_s
from headgate.supervisor.spawn import spawn

KILL_AFTER_S = 5.0

log = logging.getLogger("headgate.supervisor")


class SideProcess:
    """One process, and the means to talk to it and to end it; `exits` is how often those before it have in a row;
    it starts with the signals in `blocked` held back."""

    def __init__(
        self,
        reactor: Reactor,
        module: str,
        kinds: MessageKinds,
        exits: int,
        *,
        blocked: tuple[signal.Signals, ...] = (),
    ) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = spawn(module, [], theirs, ours, blocked=blocked)
        ours.setblocking(False)
        self._channel = Channel(ours, kinds)
        self._reactor, self._name = reactor, module.rpartition(".")[2]
        self._started = time.monotonic()
        self._kill: TimerHandle | None = None
        self.exits = exits
        self.error: str | None = None
        """Why it ends, if it has said so."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def watch(self, readable: Callable[[], None], exited: Callable[[], None]) -> None:
        """Calls back when it has said something, and when it has exited."""
        self._reactor.watch(self._channel, readable)
        self._reactor.watch(self._process.pidfd, exited)

    def send(self, message: Message, descriptors: list[int] | None = None) -> None:
        """Sends a message; one that has exited does not get it, which its exit will show."""
        try:
            self._channel.send(message, descriptors)
        except (ChannelClosed, BlockingIOError):
            pass

    def receive(self) -> tuple[Message, list[int]] | None:
        """What it has said, with descriptors for the caller; None if nothing. It is killed for what is not valid."""
        try:
            return self._channel.receive()
        except BlockingIOError:
            return None
        except (ChannelClosed, MessageError) as error:
            self._reactor.unwatch(self._channel)
            if isinstance(error, MessageError):
                log.error("invalid message from the %s: %s", self._name, error)
                self._process.signal(signal.SIGKILL)
            return None

    def last_messages(self) -> list[tuple[Message, list[int]]]:
        """What it said before it exited."""
        messages = []
        while True:
            try:
                messages.append(self._channel.receive())
            except (OSError, ValueError):
                return messages

    def terminate(self) -> None:
        """Has it end, and kills it if it does not in time."""
        self._process.signal(signal.SIGTERM)
        self._kill = self._reactor.call_later(KILL_AFTER_S, lambda: self._process.signal(signal.SIGKILL))

    def reap(self) -> int:
        """Collects it after its exit; gives its exit code, or minus the signal that killed it."""
        self._reactor.unwatch(self._process.pidfd)
        self._reactor.unwatch(self._channel)
        if self._kill:
            self._kill.cancel()
        self._channel.close()
        return self._process.reap()

    def replace_later(self, status: int, restart: Callable[[int], None]) -> int:
        """Calls `restart` with the exits in a row, which it gives, after the back-off."""
        exits = exits_in_a_row(self.exits, time.monotonic() - self._started)
        delay_s = restart_delay_s(exits)
        cause = self.error or (f"killed by signal {-status}" if status < 0 else f"with status {status}")
        facts = {"exits": exits, "restart_in_s": round(delay_s, 2)}
        log.error("%s exited: %s", self._name, cause, extra=facts)
        self._reactor.call_later(delay_s, lambda: restart(exits))
        return exits
