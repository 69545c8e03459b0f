"""Profiles as the supervisor sees them: every worker takes one, and they are added up for who has asked."""

import itertools
import math
from collections.abc import Callable, Iterable

from headgate.control import memory
from headgate.control.commands import Profiled, Refused
from headgate.control.endpoint import Respond
from headgate.control.inspection_messages import ProfileTaken, TakeProfile
from headgate.control.reactor import Reactor, TimerHandle
from headgate.supervisor.workers import WorkerProcess, WorkerState

LONGEST_S, SHORTEST_S = 600.0, 0.05
LONGEST_INTERVAL_S, SHORTEST_INTERVAL_S = 1.0, 0.001
GRACE_S = 5.0
"""For workers to send what they have seen; one whose loop is held longer is left out."""


class Profiles:
    """The one that is taken now, if any; `workers` gives those that live."""

    def __init__(self, reactor: Reactor, workers: Callable[[], Iterable[WorkerProcess]]) -> None:
        self._reactor, self._workers = reactor, workers
        self._numbers = itertools.count(1)
        self._running: _Running | None = None

    def begin(self, seconds: float, interval_s: float, respond: Respond) -> None:
        """Has every worker take one."""
        if not (SHORTEST_S <= seconds <= LONGEST_S and math.isfinite(seconds)):
            return respond(Refused(error=f"a profile takes {SHORTEST_S:g} to {LONGEST_S:g} s"))
        if not SHORTEST_INTERVAL_S <= interval_s <= LONGEST_INTERVAL_S:
            return respond(Refused(error="a profile has 1 to 1000 samples per second"))
        if self._running:
            return respond(Refused(error="a profile is being taken already"))
        number = next(self._numbers)
        message = TakeProfile(id=number, seconds=seconds, interval_s=interval_s)
        missing = {
            worker.pid
            for worker in self._workers()
            if worker.state is WorkerState.READY and worker.send(message)
        }
        if not missing:
            return respond(Refused(error="no worker is ready"))
        timer = self._reactor.call_later(seconds + GRACE_S, self._end)
        self._running = _Running(number, missing, respond, timer)
        return None

    def taken(self, worker: WorkerProcess, message: ProfileTaken, descriptors: list[int]) -> None:
        """A worker is done, or says why it cannot."""
        from headgate.profiling.profile import Profile  # which few gateways ever need

        running = self._running
        found = [Profile.of(memory.read(descriptor)) for descriptor in descriptors]
        if running is None or message.id != running.number or worker.pid not in running.missing:
            return
        running.error = message.error or running.error
        for one in found:
            running.found.append(one)
        running.missing.discard(worker.pid)
        if not running.missing:
            self._end()

    def left(self, worker: WorkerProcess) -> None:
        """A worker has ended: no profile is to be expected of it."""
        if self._running and worker.pid in self._running.missing:
            self._running.missing.discard(worker.pid)
            if not self._running.missing:
                self._end()

    def _end(self) -> None:
        from headgate.profiling.profile import Profile

        running, self._running = self._running, None
        if running is None:
            return
        running.timer.cancel()
        if not running.found:
            return running.respond(Refused(error=running.error or "no worker has responded in time"))
        whole = Profile()
        for one in running.found:
            whole.merge(one)
        running.respond(
            Profiled(profile=whole.plain(), workers=len(running.found), missing=len(running.missing))
        )
        return None


class _Running:
    """One that is taken."""

    def __init__(self, number: int, missing: set[int], respond: Respond, timer: TimerHandle) -> None:
        from headgate.profiling.profile import Profile

        self.number, self.missing, self.respond, self.timer = number, missing, respond, timer
        self.found: list[Profile] = []
        self.error: str | None = None
