"""The supervisor's part of metrics: whose memory is read, what it counts itself, and where that is served.

How it works: every worker gets memory that it counts in; it is read when somebody scrapes, by a thread that runs no
Python code. What a worker has counted stays when it ends. The address is known with the configuration, so it is
bound like a listener, and handed to a successor like one.
"""

import logging
import os
import signal
import time
from functools import cached_property
from typing import Any

from headgate import __version__, _core
from headgate.control.reactor import Reactor
from headgate.supervisor.dictionaries import Dictionaries
from headgate.supervisor.listeners import Listeners
from headgate.supervisor.workers import WorkerProcess, WorkerState
from headgate.supervisor.zone import ZoneSlots

INTERVAL_S = 1.0
OWN = 0
"""The number of the supervisor's own memory; workers have their process id."""

log = logging.getLogger("headgate.supervisor")


class NodeMetrics:
    """All numbers of one gateway."""

    def __init__(self, reactor: Reactor, zone: ZoneSlots) -> None:
        self._reactor, self._zone = reactor, zone
        self._exporter = _core.Exporter(zone.descriptor)
        self._own = _core.Metrics()
        self._exporter.add(OWN, self._own.fileno())
        self._served: list[str] = []
        self._generation = 0
        self._pushed: dict[str, Any] = {}
        self._foreign_zones: list[tuple[int, list[str]]] = []
        self._set("start_time_seconds", "When the gateway was started, in Unix seconds.", time.time())
        self._set("build_info", "1, with the version as its label.", 1.0, version=__version__)

    # ---- workers

    def memory_for(self) -> int:
        """The descriptor of memory for a new worker, which the caller closes."""
        descriptor: int = _core.Metrics.memory()
        os.set_inheritable(descriptor, False)
        return descriptor

    def joined(self, worker: WorkerProcess, descriptor: int) -> None:
        """A worker counts in that memory."""
        self.counts_in(worker.pid, descriptor)

    def counts_in(self, process: int, descriptor: int) -> None:
        """A process counts in that memory."""
        self._exporter.add(process, descriptor)

    def no_longer_counts(self, process: int) -> None:
        """It has ended: its counts stay."""
        self._exporter.retire(process)

    def left(self, worker: WorkerProcess, status: int | None) -> None:
        """A worker has ended: its counts stay."""
        self.no_longer_counts(worker.pid)
        is_killed = status is not None and status < 0
        how = "killed" if is_killed else "stopped" if status == 0 else "failed"
        self._count("worker_exits", "Workers that have ended, and how.", how=how)

    # ---- what the supervisor counts

    def reloaded(self, outcome: str, generation: int) -> None:
        """A reload was `applied` to the workers, `started` new ones, or has `failed`."""
        self._count("reloads", "Reloads, and what became of them.", outcome=outcome)
        self.is_generation(generation)

    def is_generation(self, generation: int) -> None:
        """That one serves."""
        if generation == self._generation:
            return
        self._generation = generation
        number, applied = self._of_generation
        number.set(float(generation))
        applied.set(time.time())

    @cached_property
    def _of_generation(self) -> "tuple[_core.Metric, _core.Metric]":
        number = "The number of the configuration that is served."
        applied = "When the configuration that is served was applied, in Unix seconds."
        return (
            self._series("gauge", "headgate_generation", number, {}),
            self._series("gauge", "headgate_config_last_applied_timestamp_seconds", applied, {}),
        )

    def begin(self, workers: dict[int, WorkerProcess], dictionaries: Dictionaries) -> None:
        """The gateway serves: notes how workers and shared dictionaries are, now and every second."""
        self._reactor.call_later(INTERVAL_S, lambda: self.begin(workers, dictionaries))
        self._exporter.beat(is_blocked=bool(workers) and all(one.is_blocked for one in workers.values()))
        if not self._served and not self._pushed:
            return
        for state in ("blocked", *(state.value for state in WorkerState)):
            count = sum(_state(worker) == state for worker in workers.values())
            self._set("workers", "Worker processes, by their state.", count, state=state)
        resident = sum(filter(None, map(_resident_bytes, workers)))
        self._set("workers_resident_bytes", "Resident memory of all workers.", resident)
        for name, size, descriptor in dictionaries.descriptors():
            dictionary = _core.Dictionary(descriptor)
            for key, help, value in (
                ("bytes", "Size of a shared dictionary.", size),
                ("free_bytes", "Bytes of a shared dictionary that are free.", dictionary.free_space),
                ("entries", "Entries of a shared dictionary.", len(dictionary)),
                (
                    "evictions",
                    "Entries that a shared dictionary has dropped for others.",
                    dictionary.evictions,
                ),
            ):
                self._set(f"dictionary_{key}", help, value, dictionary=name)

    # ---- where they are served

    def serve(self, addresses: list[str], listeners: Listeners) -> None:
        """Serves at these addresses, which are bound, and nowhere else."""
        if addresses == self._served:
            return
        self._served = list(addresses)
        _, descriptors = listeners.lend(addresses, 0, 1)
        # signals are for the main thread: another one inherits the mask
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._exporter.serve([os.dup(descriptor) for descriptor in descriptors])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def push(self, statsd: dict[str, Any]) -> None:
        """Sends what is counted from now on to a StatsD server: see `StatsdConfig`; nothing: to none any more."""
        if statsd == self._pushed:
            return
        self._pushed = statsd
        if not statsd:
            return self._exporter.end_pushing()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._exporter.push(
                statsd["to"], interval=statsd["interval"], prefix=statsd["prefix"], tags=statsd["tags"]
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return None

    def set_ready(self, is_ready: bool) -> None:
        """What `/readyz` says."""
        self._exporter.set_ready(is_ready)

    def json(self) -> str:
        """All numbers, for programs."""
        return self._exporter.json()

    # ---- upgrades

    def for_successor(self) -> tuple[dict[str, Any], list[int]]:
        """What a successor needs, with the descriptors in it, which the caller closes."""
        self._exporter.pause_pushing()
        live, retired, pushed = self._exporter.hand_over()
        zones = [(self._zone.descriptor, _core.named_counters()), *self._foreign_zones]
        copies = [(os.dup(descriptor), names) for descriptor, names in zones]
        told = {"zones": copies, "memories": live, "retired": retired, "pushed": pushed}
        more = [] if pushed is None else [pushed]
        return told, [*live, retired, *more, *(descriptor for descriptor, _ in copies)]

    def stays(self) -> None:
        """The successor has failed."""
        statsd, self._pushed = self._pushed, {}
        if statsd:
            self.push(statsd)

    def inherit(self, told: dict[str, Any]) -> None:
        """Goes on from what a predecessor has handed over."""
        self._foreign_zones = [(number, names) for number, names in told["zones"]]
        memories, retired, pushed = told["memories"], told["retired"], told.get("pushed")
        try:
            self._exporter.inherit(self._foreign_zones, memories, retired, pushed)
        except (ValueError, OSError) as error:
            log.warning("metrics begin anew: %s", error)
        for number in (*memories, retired, pushed):
            if number is not None:
                os.close(number)
        for number, _ in self._foreign_zones:
            os.set_inheritable(number, False)

    # ----

    def _set(self, name: str, help: str, value: float, **labels: str) -> None:
        self._series("gauge", f"headgate_{name}", help, labels).set(float(value))

    def _count(self, name: str, help: str, **labels: str) -> None:
        self._series("counter", f"headgate_{name}_total", help, labels).add(1.0)

    def _series(self, kind: str, name: str, help: str, labels: dict[str, str]) -> "_core.Metric":
        return self._own.series(kind, name, help, list(labels), list(labels.values()))


def _state(worker: WorkerProcess) -> str:
    return "blocked" if worker.is_blocked else worker.state.value


def _resident_bytes(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
