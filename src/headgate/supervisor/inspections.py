"""Inspections as the supervisor sees them: passed from the command line to every worker, hits back.

How it works: an inspection lives as long as the connection that asked for it, at most as long as it said. Workers that
start meanwhile are asked too. Hits are passed on at once; a caller that does not read is disconnected.

| to the caller | when                                                                        |
|---------------|-----------------------------------------------------------------------------|
| `Looking`     | the workers have tapped it; `Refused` if none could                         |
| `Seen`        | the place was reached; `worker` is its process id                           |
| `LookingEnded`| `count` or `time` is over, with the number of hits; then the line is closed |
"""

import itertools
from collections.abc import Callable, Iterable

from headgate.control.commands import Look, Looking, LookingEnded, Refused, Seen
from headgate.control.endpoint import Line
from headgate.control.inspection_messages import Hit, Inspect, InspectEnd, InspectHit, Inspecting
from headgate.control.reactor import Reactor, TimerHandle
from headgate.supervisor.workers import WorkerProcess, WorkerState

LONGEST_S = 3600.0
MOST = 16
"""Inspections at once."""


class Inspections:
    """All that run now; `workers` gives those that live."""

    def __init__(self, reactor: Reactor, workers: Callable[[], Iterable[WorkerProcess]]) -> None:
        self._reactor, self._workers = reactor, workers
        self._running: dict[int, _Inspection] = {}
        self._numbers = itertools.count(1)

    def begin(self, command: Look, line: Line) -> None:
        """Has every worker look."""
        for_s = command.for_s
        if not 0 < for_s <= LONGEST_S:
            return line.close(Refused(error=f"`{for_s}` s is not within 0 and {LONGEST_S:.0f} s"))
        if len(self._running) >= MOST:
            return line.close(Refused(error=f"{MOST} inspections are already running"))
        number = next(self._numbers)
        message = Inspect(id=number, order=command.order, for_s=for_s)
        inspection = _Inspection(message, line)
        self._running[number] = inspection
        inspection.timer = self._reactor.call_later(for_s, lambda: self._end(number, "time"))
        line.on_leave(lambda: self._end(number, None))
        for worker in self._workers():
            if worker.state in (WorkerState.READY, WorkerState.DRAINING) and worker.send(message):
                inspection.missing.add(worker.pid)
        if not inspection.missing:
            self._end(number, None)
            line.close(Refused(error="no worker is ready"))
        return None

    def on_message(self, worker: WorkerProcess, message: Inspecting | Hit) -> None:
        """A worker says that it began, or that the place was reached."""
        if message.id not in self._running:
            return
        if isinstance(message, Inspecting):
            self._began(worker, message)
        else:
            self._hit(message.id, worker, message.hit)

    def joined(self, worker: WorkerProcess) -> None:
        """A worker has become ready: it is asked to look, too."""
        for inspection in self._running.values():
            worker.send(inspection.message)

    def left(self, worker: WorkerProcess) -> None:
        """A worker has exited: no reply is to be expected of it."""
        for number, inspection in list(self._running.items()):
            if worker.pid in inspection.missing:
                self._began(worker, Inspecting(id=number, error="the worker ended"))

    def end_all(self) -> None:
        """The gateway stops."""
        for number in list(self._running):
            self._end(number, "stop")

    def _began(self, worker: WorkerProcess, message: Inspecting) -> None:
        number = message.id
        inspection = self._running[number]
        inspection.place = inspection.place or message.place
        inspection.error = message.error or inspection.error
        if worker.pid not in inspection.missing:
            return
        inspection.missing.discard(worker.pid)
        if inspection.has_responded:
            return
        if inspection.place:
            inspection.has_responded = True
            inspection.line.send(Looking(place=inspection.place))
            for seen in inspection.early:
                self._pass_on(number, seen)
        elif not inspection.missing:
            self._end(number, None)
            inspection.line.close(Refused(error=inspection.error or "no worker looks"))

    def _hit(self, number: int, worker: WorkerProcess, hit: InspectHit) -> None:
        seen = Seen(hit=hit, worker=worker.pid)
        if self._running[number].has_responded:
            self._pass_on(number, seen)
        else:
            self._running[number].early.append(seen)  # what the worker calls to say that it looks

    def _pass_on(self, number: int, seen: Seen) -> None:
        inspection = self._running.get(number)
        if inspection is None:
            return
        inspection.line.send(seen)
        if seen.hit.error:
            return
        inspection.hits += 1
        if inspection.hits == inspection.message.order.count:
            self._end(number, "count")

    def _end(self, number: int, why: str | None) -> None:
        inspection = self._running.pop(number, None)
        if inspection is None:
            return
        if inspection.timer:
            inspection.timer.cancel()
        for worker in self._workers():
            worker.send(InspectEnd(id=number))
        if why:
            inspection.line.close(LookingEnded(end=why, hits=inspection.hits))


class _Inspection:
    """One that runs."""

    def __init__(self, message: Inspect, line: Line) -> None:
        self.message, self.line = message, line
        self.missing: set[int] = set()
        """Workers that have not replied yet."""
        self.has_responded = False
        self.early: list[Seen] = []
        """What was seen before that."""
        self.place: str | None = None
        self.error: str | None = None
        self.hits = 0
        self.timer: TimerHandle | None = None
