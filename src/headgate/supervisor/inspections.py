"""Inspections as the supervisor sees them: orders from the command line to every worker, hits back.

How it works: an inspection lives as long as the connection that asked for it, at most as long as it said. Workers that
start meanwhile get the order too. What comes is passed on as it comes; a caller that does not read is cut off.

| to the caller | when                                                                        |
|---------------|-----------------------------------------------------------------------------|
| `ok`, `place` | the workers have tapped it; with `error` if none could                      |
| `hit`         | the place was reached; `worker` is its process id                           |
| `end`         | `count` or `time` is over, with the number of hits; then the line is closed |
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from headgate.control.channel import Message
from headgate.control.endpoint import Line
from headgate.control.reactor import Reactor
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

    def begin(self, request: dict[str, Any], line: Line) -> None:
        """Gives an order to every worker; `request` has `order` and `for_s`."""
        order, for_s = request.get("order"), request.get("for_s")
        if not isinstance(order, dict) or not isinstance(for_s, int | float):
            return line.close({"ok": False, "error": "not an inspection"})
        if not 0 < for_s <= LONGEST_S:
            return line.close({"ok": False, "error": f"`{for_s}` s is not within 0 and {LONGEST_S:.0f} s"})
        if len(self._running) >= MOST:
            return line.close({"ok": False, "error": f"{MOST} inspections run already"})
        number = next(self._numbers)
        message = {"type": "inspect", "id": number, "order": order, "for_s": for_s}
        inspection = _Inspection(message, line)
        self._running[number] = inspection
        inspection.timer = self._reactor.call_later(for_s, lambda: self._end(number, "time"))
        line.on_leave(lambda: self._end(number, None))
        for worker in self._workers():
            if worker.phase in (WorkerState.READY, WorkerState.DRAINING) and worker.send(message):
                inspection.missing.add(worker.pid)
        if not inspection.missing:
            self._end(number, None)
            line.close({"ok": False, "error": "no worker is ready"})
        return None

    def heard(self, worker: WorkerProcess, message: Message) -> None:
        """A worker says that it began, hit, or is done."""
        number = message["id"]
        inspection = self._running.get(number)
        if inspection is None:
            return
        match message["type"]:
            case "inspecting":
                self._began(number, worker, message)
            case "hit":
                self._hit(number, worker, message["hit"])

    def joined(self, worker: WorkerProcess) -> None:
        """A worker has become ready: it shall look, too."""
        for inspection in self._running.values():
            worker.send(inspection.message)

    def left(self, worker: WorkerProcess) -> None:
        """A worker is gone: it says nothing any more."""
        for number, inspection in list(self._running.items()):
            if worker.pid in inspection.missing:
                self._began(number, worker, {"error": "the worker ended"})

    def end_all(self) -> None:
        """The gateway stops."""
        for number in list(self._running):
            self._end(number, "stop")

    def _began(self, number: int, worker: WorkerProcess, message: Message) -> None:
        inspection = self._running[number]
        inspection.place = inspection.place or message.get("place")
        inspection.error = message.get("error") or inspection.error
        if worker.pid not in inspection.missing:
            return
        inspection.missing.discard(worker.pid)
        if inspection.missing or inspection.is_answered:
            return
        inspection.is_answered = True
        if inspection.place:
            inspection.line.send({"ok": True, "place": inspection.place})
        else:
            self._end(number, None)
            inspection.line.close({"ok": False, "error": inspection.error})

    def _hit(self, number: int, worker: WorkerProcess, hit: dict[str, Any]) -> None:
        inspection = self._running[number]
        inspection.line.send({"hit": hit, "worker": worker.pid})
        if "error" in hit:
            return
        inspection.hits += 1
        if inspection.hits == inspection.message["order"].get("count"):
            self._end(number, "count")

    def _end(self, number: int, why: str | None) -> None:
        inspection = self._running.pop(number, None)
        if inspection is None:
            return
        inspection.timer.cancel()
        for worker in self._workers():
            worker.send({"type": "inspect_end", "id": number})
        if why:
            inspection.line.close({"end": why, "hits": inspection.hits})


class _Inspection:
    """One that runs."""

    def __init__(self, message: Message, line: Line) -> None:
        self.message, self.line = message, line
        self.missing: set[int] = set()
        """Workers that have not answered yet."""
        self.is_answered = False
        self.place: str | None = None
        self.error: str | None = None
        self.hits = 0
        self.timer: Any = None
