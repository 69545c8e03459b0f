"""One worker as the supervisor sees it, and the generations that workers belong to."""

import enum
import signal
import time
from collections.abc import Callable
from typing import Any

from headgate.control.channel import Channel, ChannelClosed, Message
from headgate.control.reactor import Reactor, Timer
from headgate.supervisor.spawn import Process

START_LIMIT_S = 60.0
KILL_AFTER_S = 5.0


class WorkerState(enum.Enum):
    """Where a worker is in its life; it only ever moves down this list."""

    STARTING = "starting"
    PREPARED = "prepared"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"


class WorkerProcess:
    """A worker process: its place, its phase, and the means to talk to it and to end it."""

    def __init__(
        self, process: Process, *, slot: int, zone_slot: int | None, generation: int, deaths: int
    ) -> None:
        self.process = process
        self.channel = Channel(process.end)
        self.slot, self.zone_slot, self.generation, self.deaths = slot, zone_slot, generation, deaths
        self.phase = WorkerState.STARTING
        self.started = time.monotonic()
        self.error: str | None = None
        self.error_kind = "runtime"
        self.listeners: list[str] = []
        self.is_data = False
        self.tls_module = ("", False)
        """Name of the cryptographic module, and whether it is the FIPS one."""
        self.wanted_workers: int | None = None
        self.drain_s = 30.0
        self.report: Message = {}
        self.hook_times: list[Message] = []
        self._timer: Timer | None = None
        self._kills = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def send(self, message: Message, descriptors: list[int] | None = None) -> bool:
        """Sends a message; false if it is gone or does not read (its death or its limit will tell)."""
        try:
            self.channel.send(message, descriptors)
        except (ChannelClosed, BlockingIOError):
            return False
        return True

    def limit_start(self, reactor: Reactor) -> None:
        """Ends it if it is not ready within the start limit."""

        def too_late() -> None:
            self.error = f"not ready within {START_LIMIT_S:.0f} s"
            self.process.signal(signal.SIGKILL)

        self._set_timer(reactor, START_LIMIT_S, too_late)

    def became_prepared(self, message: Message) -> None:
        """It has loaded, and says what it wants."""
        self.phase = WorkerState.PREPARED
        self.listeners = message["listeners"]
        self.is_data = message["is_data"]
        self.tls_module = (message["tls_module"][0], message["tls_module"][1])
        self.wanted_workers = message["workers"]
        self.drain_s = message["drain_s"]

    def became_ready(self) -> None:
        """It accepts connections."""
        self.phase = WorkerState.READY
        self._cancel_timer()

    def drain(self, reactor: Reactor) -> None:
        """Lets it finish what it does; past its drain limit it is stopped."""
        if self.phase in (WorkerState.DRAINING, WorkerState.STOPPING):
            return
        if self.phase is not WorkerState.READY:
            return self.stop(reactor)
        self.phase = WorkerState.DRAINING
        self.process.signal(signal.SIGQUIT)
        self._set_timer(reactor, self.drain_s + KILL_AFTER_S, lambda: self.stop(reactor))

    def stop(self, reactor: Reactor) -> None:
        """Stops it at once; asked twice, or if it does not obey, it is killed."""
        if self.phase is WorkerState.STOPPING:
            self._kills = True
        self.phase = WorkerState.STOPPING
        self.process.signal(signal.SIGKILL if self._kills else signal.SIGTERM)
        self._set_timer(reactor, KILL_AFTER_S, lambda: self.process.signal(signal.SIGKILL))

    def ended(self) -> int:
        """Collects the ended process; its exit code, or minus the signal."""
        self._cancel_timer()
        self.channel.close()
        return self.process.reap()

    def status(self) -> dict[str, Any]:
        """Its line in the status."""
        return {
            "pid": self.pid,
            "slot": self.slot,
            "generation": self.generation,
            "state": self.phase.value,
            "uptime_s": round(time.monotonic() - self.started, 1),
            "deaths": self.deaths,
            **self.report,
        }

    def _set_timer(self, reactor: Reactor, delay_s: float, callback: Callable[[], None]) -> None:
        self._cancel_timer()
        self._timer = reactor.call_later(delay_s, callback)

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


class Generation:
    """The workers that run one version of the code and configuration."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.workers: dict[int, WorkerProcess] = {}
        self.listeners: list[str] = []
        self.dictionaries: set[tuple[str, int]] = set()
        """Name and size of what its workers have asked for."""
        self.is_data = False
        """Whether what it serves holds no code of the user's."""
        self.waiting: list[Callable[[dict[str, Any]], None]] = []
        """Who asked for it and wants to hear how it went."""

    def all_at_least(self, phase: WorkerState, count: int | None) -> bool:
        """Whether all `count` workers have come as far as `phase`."""
        order = list(WorkerState)
        return len(self.workers) == count and all(
            order.index(worker.phase) >= order.index(phase) for worker in self.workers.values()
        )
