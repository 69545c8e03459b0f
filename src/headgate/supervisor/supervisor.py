"""The supervisor: holds the sockets and the shared memory, starts workers, replaces what dies, answers
signals.

How it works: workers belong to generations. The `current` generation serves; a reload starts a `coming` one,
waits until every worker of it is prepared (loaded, hooks started up), lends it the sockets, waits until all
accept, and only then drains the old one; a change of configuration alone goes into the workers that run
(`applying`). A coming generation that fails in any of its workers is thrown away
and the current one never knew. The supervisor itself never loads the user's code: the workers tell it which
addresses they want.

| event                       | current generation               | coming generation                       |
|-----------------------------|----------------------------------|-----------------------------------------|
| worker says `prepared`      | lend it the sockets              | all prepared: bind, lend to all         |
| worker says `ready`         | it serves                        | all ready: promote, drain the old       |
| worker says `failed`, dies  | start another after the back-off | give up; at the first start: exit       |
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from headgate.control import runtime
from headgate.control.channel import ChannelClosed, Message
from headgate.control.cpus import usable_cpus
from headgate.control.endpoint import Answer, Endpoint
from headgate.control.hook_times import by_hook
from headgate.control.reactor import Reactor
from headgate.control.signals import Intent, SignalPipe
from headgate.supervisor import notify
from headgate.supervisor.applying import Awaited, is_in_place, send_change
from headgate.supervisor.backoff import deaths_in_a_row, restart_delay_s
from headgate.supervisor.dictionaries import Dictionaries, Key
from headgate.supervisor.inspections import Inspections
from headgate.supervisor.listeners import BindError, Listeners
from headgate.supervisor.settings import RunSettings
from headgate.supervisor.spawn import Process, spawn_worker
from headgate.supervisor.status import StatusRound
from headgate.supervisor.ticket_keys import TicketKeys
from headgate.supervisor.upgrade import Predecessor, Successor
from headgate.supervisor.workers import Generation, WorkerProcess, WorkerState
from headgate.supervisor.zone import ZoneSlots

EXIT_OK, EXIT_FAILURE, EXIT_CONFIG = 0, 1, 2
RETREAT_LIMIT_S = 5.0  # for old workers to stop letting clients in; one that a hook holds does so later

log = logging.getLogger("headgate.supervisor")


class Supervisor:
    """Runs one gateway until it is told to stop; `first` is a worker that was started ahead of time."""

    def __init__(self, settings: RunSettings, first: Process | None = None) -> None:
        self.settings = settings
        self.reactor = Reactor()
        self.listeners = Listeners(settings.accept_mode)
        self.dictionaries = Dictionaries()
        self.current: Generation | None = None
        self.coming: Generation | None = None
        self._change: Awaited | None = None
        """The workers that have yet to put the new configuration in force."""
        self._retreat: Awaited | None = None
        """The old workers that still let clients in."""
        self.workers: dict[int, WorkerProcess] = {}
        """All that live, of whatever generation, by process id."""
        self.last_reload: dict[str, Any] | None = None
        self._tls_module: tuple[str, bool] | None = None
        """What was last said of the cryptographic module."""
        self._count = settings.workers
        """Workers in a generation; None until the first worker has read the configuration."""
        self._zone = ZoneSlots(self._count or usable_cpus())
        self._first = first
        self._generations = 0
        self._status_rounds: list[StatusRound] = []
        self._inspections = Inspections(self.reactor, lambda: list(self.workers.values()))
        self._reload_again: list[Answer] = []
        self._stopping: Intent | None = None
        self._has_left = False
        self.failure: str | None = None
        """Why the gateway could not start, for the user to read."""
        self._exit_code = EXIT_OK
        self._started = time.time()
        self._endpoint: Endpoint | None = None
        self._predecessor = Predecessor.from_environment()
        bequest = self._predecessor.ticket_keys if self._predecessor else None
        self._ticket_keys = TicketKeys(self.reactor, self._tell_ticket_keys, bequest)
        self._successor: Successor | None = None

    def run(self) -> int:
        """Serves until stopped; the exit code."""
        signals = SignalPipe()
        self.reactor.watch(signals, lambda: self._act_on(signals.intents()))
        if self._predecessor:
            self.listeners.inherit(self._predecessor.listeners)
            self.dictionaries.inherit(self._predecessor.dictionaries)
        self._begin_generation()
        self.reactor.run()
        return self._exit_code

    @property
    def _is_another_serving(self) -> bool:
        """Whether a successor has taken over the sockets, or a predecessor kept them, since nothing here served."""
        if self._successor:
            return self._successor.took_over
        return self._predecessor is not None and self.current is None

    # ---- generations

    def _begin_generation(self, answer: Answer | None = None) -> None:
        self._generations += 1
        self.coming = Generation(self._generations)
        if answer:
            self.coming.waiting.append(answer)
        # One goes first: what is wrong is said once, and the first start has the CPUs for itself.
        self._start_worker(self.coming, slot=0, deaths=0)

    def _start_worker(self, generation: Generation, slot: int, deaths: int) -> None:
        process, self._first = self._first or spawn_worker(is_plain=self.settings.is_plain), None
        process.end.setblocking(False)
        zone_slot = self._zone.take()
        worker = WorkerProcess(
            process, slot=slot, zone_slot=zone_slot, generation=generation.number, deaths=deaths
        )
        generation.workers[slot] = worker
        self.workers[worker.pid] = worker
        self.reactor.watch(worker.channel, lambda: self._hear(worker, generation))
        self.reactor.watch(process.pidfd, lambda: self._bury(worker, generation))
        worker.limit_start(self.reactor)
        worker.send(self._orders(worker), [] if zone_slot is None else [self._zone.descriptor])

    def _orders(self, worker: WorkerProcess) -> Message:
        settings = self.settings
        return {
            "type": "orders",
            "source": settings.source,
            "zone_slot": worker.zone_slot,
            "generation": worker.generation,
            "user": settings.user,
            "group": settings.group,
            "log_format": settings.log_format,
            "log_level": settings.log_level,
            "ticket_keys": self._ticket_keys.told(),
            "require_fips": settings.require_fips,
        }

    def _tell_ticket_keys(self, keys: list[str]) -> None:
        for worker in self.workers.values():
            worker.send({"type": "ticket_keys", "keys": keys})

    def _hear(self, worker: WorkerProcess, generation: Generation) -> None:
        try:
            message, descriptors = worker.channel.receive()
        except BlockingIOError:
            return
        except ChannelClosed:
            self.reactor.unwatch(worker.channel)
            return
        match message["type"]:
            case "open":
                self._open(worker, generation, (message["name"], message["bytes"]))
            case "prepared":
                worker.became_prepared(message)
                if generation is self.coming and is_in_place(self.current, worker):
                    worker.send({"type": "hand_over"})
                else:
                    self._lend(worker, generation)
            case "snapshot":
                self._apply(generation, message["change"], *descriptors)
            case "applied":
                if message["error"]:
                    worker.error = message["error"]
                    worker.process.signal(signal.SIGKILL)
                elif self._change:
                    self._change.heard(worker)
            case "draining":
                if self._retreat:
                    self._retreat.heard(worker)
            case "ready":
                worker.became_ready()
                self._inspections.joined(worker)
                log.debug("worker ready", extra={"worker": worker.pid, "generation": generation.number})
                if generation is self.coming and generation.all_at_least(WorkerState.READY, self._count):
                    self._promote(generation)
            case "inspecting" | "hit":
                self._inspections.heard(worker, message)
            case "failed":
                worker.error, worker.error_kind = message["error"], message["kind"]
            case "report":
                worker.report, worker.hook_times = message["report"], message["hooks"]
                self._reported(worker)

    def _tell_of_module(self, worker: WorkerProcess) -> None:
        """Says which cryptographic module the workers have, at the start and when it is another one after a reload."""
        if worker.tls_module != self._tls_module:
            self._tls_module = worker.tls_module
            name, is_fips = worker.tls_module
            log.info("tls module=%s", name, extra={"fips": is_fips})

    def _open(self, worker: WorkerProcess, generation: Generation, key: Key) -> None:
        try:
            descriptor = self.dictionaries.lend(key)
        except (ValueError, OSError) as error:
            worker.send({"type": "opened", "error": str(error)})
            return
        generation.dictionaries.add(key)
        worker.send({"type": "opened", "error": None}, [descriptor])

    def _lend(self, worker: WorkerProcess, generation: Generation) -> None:
        if self._count is None:
            self._count = worker.wanted_workers or usable_cpus()
        if generation is self.coming and worker.slot == 0:
            generation.listeners, generation.is_data = worker.listeners, worker.is_data
            self._tell_of_module(worker)
            for slot in range(1, self._count):
                self._start_worker(generation, slot, deaths=0)
        alone = generation is self.current or self.current is None
        if not alone and not generation.all_at_least(WorkerState.PREPARED, self._count):
            return  # nobody of a new version accepts before all of it has loaded
        try:
            self.listeners.open(generation.listeners)
            for one in [worker] if alone else generation.workers.values():
                names, descriptors = self.listeners.lend(generation.listeners, one.slot, self._count)
                one.send({"type": "listen", "listeners": names}, descriptors)
        except BindError as error:
            worker.error = str(error)
            if generation is self.coming:
                return self._give_up(generation, str(error), EXIT_FAILURE)
            worker.process.signal(signal.SIGKILL)

    def _apply(self, generation: Generation, change: Message, descriptor: int) -> None:
        """Puts what the coming generation has prepared into the workers of the current one."""
        current = self.current
        if current is None or generation is not self.coming:
            return os.close(descriptor)  # stopped meanwhile
        self.coming = None

        def done() -> None:
            self._change = None
            current.number = generation.number
            for worker in current.workers.values():
                worker.generation = generation.number
            self._finish_reload(generation, {"in_place": True})

        self._change = Awaited(current.workers.values(), done)
        send_change(current, change, descriptor)

    def _promote(self, generation: Generation) -> None:
        old, self.current, self.coming = self.current, generation, None
        self.listeners.keep_only(generation.listeners)
        self.dictionaries.keep_only(generation.dictionaries)
        if old is None or not old.workers:
            if old is None:
                self._announce()
            return self._finish_reload(generation, {})

        def done() -> None:
            self._retreat = None
            self._finish_reload(generation, {})

        # whoever asked hears of it when nobody is let in by the old workers any more
        self._retreat = Awaited(old.workers.values(), done)
        self.reactor.call_later(RETREAT_LIMIT_S, self._retreat.end)
        for worker in old.workers.values():
            worker.drain(self.reactor)

    def _finish_reload(self, generation: Generation, how: dict[str, Any]) -> None:
        outcome = {"ok": True, "generation": generation.number, **how}
        if generation.number > 1:
            log.info("reloaded", extra={"generation": generation.number, **how})
        self._tell(generation, outcome)
        notify.ready(os.getpid())
        self._reload_if_asked_meanwhile()

    def _give_up(self, generation: Generation, error: str, code: int) -> None:
        """The coming generation is no good: the current one stays, or the program ends if there is none."""
        self.coming = None
        for worker in generation.workers.values():
            worker.drain(self.reactor)
        self._tell(generation, {"ok": False, "generation": generation.number, "error": error})
        if self.current is None:
            self.failure, self._exit_code = error, code
            self._stop(Intent.STOP_NOW)
        else:
            self.dictionaries.keep_only(self.current.dictionaries)
            log.error("reload refused, generation %d stays: %s", self.current.number, error)
            notify.ready(os.getpid())
            self._reload_if_asked_meanwhile()

    def _tell(self, generation: Generation, outcome: dict[str, Any]) -> None:
        if generation.number > 1:
            self.last_reload = {**outcome, "at": round(time.time(), 3)}
        for answer in generation.waiting:
            answer(outcome)

    def _reload_if_asked_meanwhile(self) -> None:
        if answers := self._reload_again:
            self._reload_again = []
            for answer in answers:
                self._reload(answer)

    def _announce(self) -> None:
        pid = os.getpid()
        if self.settings.pid_file:
            runtime.write_pid_file(self.settings.pid_file, pid)
        try:
            path = runtime.control_socket_path(pid)
            streams = {"inspect": self._inspections.begin}
            self._endpoint = Endpoint(self.reactor, path, self._command, streams)
        except OSError as error:
            log.warning("no control socket, so only signals work: %s", error)
        if self._predecessor:
            self._predecessor.take_over()
        log.info(
            "serving", extra={"listening": self.listeners.bound(), "workers": self._count, "supervisor": pid}
        )
        if os.geteuid() == 0 and not self.settings.user:
            log.warning("workers run as root; --user NAME gives them less to lose")

    # ---- deaths

    def _bury(self, worker: WorkerProcess, generation: Generation) -> None:
        self._hear_the_rest(worker, generation)
        self.reactor.unwatch(worker.process.pidfd)
        self.reactor.unwatch(worker.channel)
        status = worker.ended()
        if worker.zone_slot is not None:
            self._zone.clear(worker.zone_slot)
        del self.workers[worker.pid]
        self._inspections.left(worker)
        self._reported(worker)
        if generation.workers.get(worker.slot) is worker:
            del generation.workers[worker.slot]
        for awaited in (self._change, self._retreat):
            if awaited:
                awaited.heard(worker)
        cause = worker.error or (
            f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
        )
        if generation is self.coming and worker.phase is not WorkerState.STOPPING:
            code = EXIT_CONFIG if worker.error_kind == "config" else EXIT_FAILURE
            self._give_up(generation, cause, code)
        elif generation is self.current and not self._stopping:
            self._restart_later(worker, generation, cause)
        self._leave_if_alone()

    def _hear_the_rest(self, worker: WorkerProcess, generation: Generation) -> None:
        """Its last words may still lie in the socket when its end is noticed."""
        try:
            while True:
                message, _ = worker.channel.receive()
                if message["type"] == "failed":
                    worker.error, worker.error_kind = message["error"], message["kind"]
        except (OSError, ValueError):
            return

    def _restart_later(self, worker: WorkerProcess, generation: Generation, cause: str) -> None:
        deaths = deaths_in_a_row(worker.deaths, time.monotonic() - worker.started)
        delay_s = restart_delay_s(deaths)
        log.error(
            "worker died: %s",
            cause,
            extra={"worker": worker.pid, "deaths": deaths, "restart_in_s": round(delay_s, 2)},
        )

        def restart() -> None:
            if generation is self.current and not self._stopping:
                self._start_worker(generation, worker.slot, deaths)

        self.reactor.call_later(delay_s, restart)

    # ---- intents

    def _act_on(self, intents: list[Intent]) -> None:
        for intent in intents:
            match intent:
                case Intent.STOP | Intent.STOP_NOW:
                    self._stop(intent)
                case Intent.RELOAD:
                    self._reload()
                case Intent.REOPEN_LOGS:
                    self._reopen_logs()
                case Intent.UPGRADE:
                    self._upgrade()

    def _command(self, command: str, answer: Answer) -> None:
        match command:
            case "status":
                everyone = list(self.workers.values())
                self._status_rounds.append(StatusRound(self.reactor, everyone, lambda: answer(self.status())))
            case "hooks":
                everyone = list(self.workers.values())
                self._status_rounds.append(
                    StatusRound(self.reactor, everyone, lambda: answer(self.hook_times()), hooks=True)
                )
            case "reload":
                self._reload(answer)
            case "upgrade":
                self._upgrade(answer)
            case "stop" | "stop-now":
                answer({"ok": True})
                self._stop(Intent(command))
            case "reopen-logs":
                self._reopen_logs()
                answer({"ok": True})
            case _:
                answer({"ok": False, "error": f"unknown command `{command}`"})

    def _stop(self, intent: Intent, *, announce: bool = True) -> None:
        if not self._stopping and self.current and announce:
            notify.stopping()
            log.info(
                "stopping" if intent is Intent.STOP_NOW else "stopping when the requests in flight are done"
            )
        self._stopping = intent
        self._inspections.end_all()
        self.coming = None
        self.listeners.close(keep_socket_files=self._is_another_serving)  # nobody is let in any more
        for worker in list(self.workers.values()):
            if intent is Intent.STOP_NOW:
                worker.stop(self.reactor)
            else:
                worker.drain(self.reactor)
        self._leave_if_alone()

    def _leave_if_alone(self) -> None:
        if not self._stopping or self.workers or self._has_left:
            return
        self._has_left = True
        if self._endpoint:
            self._endpoint.close()
        if self.settings.pid_file:
            runtime.remove_pid_file(self.settings.pid_file, os.getpid())
        if self.current:
            log.info("stopped")
        self.reactor.stop()

    def _reload(self, answer: Answer | None = None) -> None:
        if self._stopping:
            return answer({"ok": False, "error": "the gateway is stopping"}) if answer else None
        if self.coming or self._change or self._retreat:
            # What runs now may have read the files before they changed: do it once more afterwards, for all
            # who ask.
            self._reload_again.append(answer or _nobody)
            return None
        notify.reloading()
        self._begin_generation(answer)
        return None

    def _reopen_logs(self) -> None:
        for worker in self.workers.values():
            if worker.phase in (WorkerState.READY, WorkerState.DRAINING):
                worker.process.signal(signal.SIGUSR1)

    def _upgrade(self, answer: Answer | None = None) -> None:
        reply: Callable[[dict[str, Any]], None] = answer or _nobody
        if self._stopping or self._successor or self.current is None:
            return reply({"ok": False, "error": "an upgrade or a stop is under way"})

        def done(successor: Successor, error: str | None) -> None:
            if error:
                self._successor = None
                log.error("upgrade failed, this program stays: %s", error)
                return reply({"ok": False, "error": error})
            log.info("upgraded", extra={"successor": successor.pid})
            if self._endpoint:
                self._endpoint.close()
                self._endpoint = None
            reply({"ok": True, "pid": successor.pid})
            notify.notify(f"MAINPID={successor.pid}")
            self._stop(Intent.STOP, announce=False)

        self._successor = Successor(
            self.reactor,
            self.listeners.descriptors(),
            self.dictionaries.descriptors(),
            self._ticket_keys.bequest(),
            done,
        )
        return None

    def _reported(self, worker: WorkerProcess) -> None:
        for one in self._status_rounds:
            one.heard(worker)
        self._status_rounds = [one for one in self._status_rounds if not one.is_over]

    def hook_times(self) -> dict[str, Any]:
        """What `headgate status --hooks` shows: the sums over the workers that live."""
        told = [times for worker in self.workers.values() for times in worker.hook_times]
        return {"ok": True, "hooks": by_hook(told)}

    def status(self) -> dict[str, Any]:
        """What `headgate status` shows."""
        return {
            "ok": True,
            "pid": os.getpid(),
            "source": self.settings.source,
            "generation": self.current.number if self.current else 0,
            "reloading": bool(self.coming or self._change or self._retreat),
            "stopping": self._stopping is not None,
            "uptime_s": round(time.time() - self._started, 1),
            "listeners": self.listeners.bound(),
            "workers": [
                worker.status() for worker in sorted(self.workers.values(), key=lambda w: (w.slot, w.pid))
            ],
            "counters": self._zone.counters(),
            "last_reload": self.last_reload,
        }


def _nobody(outcome: dict[str, Any]) -> None:
    """Takes the answer of a reload that came by signal: the log has it."""
