"""Generations: how a new version comes into force, or does not.

How it works: the `current` generation serves; a reload starts a `pending` one, waits until every worker of it is
prepared (loaded, hooks started up), lends it the sockets, waits until all accept, and only then drains the old one; a
change that the code of the workers that run can serve goes into those (`applying`). A pending generation that fails in
any of its workers is thrown away and the current one is not affected. The supervisor itself never loads the user's
code: the workers say which addresses they want.

| event                       | current generation               | pending generation                      |
|-----------------------------|----------------------------------|-----------------------------------------|
| worker says `Prepared`      | lend it the sockets              | all prepared: bind, lend to all         |
| worker says `Ready`         | it serves                        | all ready: promote, drain the old       |
| worker says `Failed`, exits | start another after the back-off | give up; at the first start: exit       |
"""

import logging
import os
import signal
import time
from collections.abc import Callable

from headgate.control import messages
from headgate.control.commands import Refused, Reloaded, ReloadOutcome
from headgate.control.cpus import usable_cpus
from headgate.control.endpoint import Respond
from headgate.supervisor import notify
from headgate.supervisor.applying import Applying, Awaited, Changing, may_change, replace_if_outdated
from headgate.supervisor.backoff import restart_delay_s
from headgate.supervisor.dictionaries import Key
from headgate.supervisor.listeners import BindError
from headgate.supervisor.resources import Held
from headgate.supervisor.state import EXIT_FAILURE, State
from headgate.supervisor.workers import Generation, WorkerProcess, WorkerState
from headgate.supervisor.zygotes import ForkedWorker, Zygote

STOP_ACCEPTING_LIMIT_S = 5.0  # for old workers to stop accepting; one whose loop a hook blocks does so later

log = logging.getLogger("headgate.supervisor")


class Generations:
    """Starts them, promotes them, gives them up.

    `watch` is called with each new worker; `serving` when the first generation serves; `failed` when the first one
    does not; `settled` after each reload, with whether code and file were loaded anew.
    """

    def __init__(
        self,
        state: State,
        *,
        watch: Callable[[WorkerProcess, Generation], None],
        serving: Callable[[], None],
        failed: Callable[[str, int], None],
        settled: Callable[[bool], None],
    ) -> None:
        self._state = state
        self._watch, self._serving, self._failed, self._settled = watch, serving, failed, settled
        self._number = 0
        self.applying = Applying()
        """What goes into the workers that run."""
        self._still_accepting: Awaited | None = None
        """The old workers that still accept."""
        self._tls_module: tuple[str, bool] | None = None
        """What was last said of the cryptographic module."""
        self.last_reload: ReloadOutcome | None = None

    @property
    def is_reloading(self) -> bool:
        """Whether a reload is under way."""
        return bool(self._state.pending or self.applying.change or self._still_accepting)

    def next_number(self) -> int:
        """The number of the next version that is to serve."""
        self._number += 1
        return self._number

    def begin(self, respond: Respond | None = None, resources: Held | None = None) -> None:
        """Starts a new generation; `respond` hears how it went. It may load other `resources` than those in force."""
        state, number = self._state, self.next_number()
        zygote, state.first = state.first or Zygote(is_plain=state.settings.is_plain), None
        state.pending = pending = Generation(number, zygote)
        pending.resources = resources
        if respond:
            pending.waiting.append(respond)
        # One goes first: what is wrong is said once, and the first start has the CPUs for itself.
        self.start_worker(pending, slot=0, exits=0)

    def start_worker(self, generation: Generation, slot: int, exits: int) -> None:
        """Starts the worker for `slot`; `exits` is how often it has ended in a row."""
        if not generation.zygote.is_alive:
            generation.zygote = Zygote(is_plain=self._state.settings.is_plain)

        def forked(process: ForkedWorker | None) -> None:
            if process is None:
                self._not_forked(generation, slot, exits)
            else:
                self._start(generation, process, slot, exits)

        generation.zygote.fork(self._state.reactor, forked)

    def _not_forked(self, generation: Generation, slot: int, exits: int) -> None:
        """What workers are forked from has ended: its next one may do better."""
        if generation is self._state.pending:
            self.give_up(generation, "the zygote has exited", EXIT_FAILURE)
        elif generation is self._state.current and not self._state.stopping:
            log.error("the zygote has exited", extra={"slot": slot})
            again = exits + 1
            self._state.reactor.call_later(
                restart_delay_s(again), lambda: self._start_again(generation, slot, again)
            )

    def _start_again(self, generation: Generation, slot: int, exits: int) -> None:
        if generation is self._state.current and not self._state.stopping:
            self.start_worker(generation, slot, exits)

    def _start(self, generation: Generation, process: ForkedWorker, slot: int, exits: int) -> None:
        state = self._state
        zone_slot = state.zone.take()
        worker = WorkerProcess(
            process, slot=slot, zone_slot=zone_slot, generation=generation.number, exits=exits
        )
        generation.workers[slot] = worker
        state.workers[worker.pid] = worker
        self._watch(worker, generation)
        worker.limit_start(state.reactor)
        memory = state.metrics.memory_for()
        state.metrics.joined(worker, memory)
        zone = [] if zone_slot is None else [state.zone.descriptor]
        worker.send(self._start_message(worker), [memory, *zone])
        os.close(memory)

    def _start_message(self, worker: WorkerProcess) -> messages.Start:
        settings, pending = self._state.settings, self._state.pending
        is_first = pending is not None and pending.number == worker.generation and worker.slot == 0
        return messages.Start(
            source=settings.source,
            generation=worker.generation,
            zone_slot=worker.zone_slot,
            user=settings.user,
            group=settings.group,
            keep_net_admin=settings.keep_net_admin,
            log_format=settings.log_format,
            log_level=settings.log_level,
            ticket_keys=self._state.ticket_keys.in_hex(),
            http3_secret=self._state.ticket_keys.http3_secret.hex(),
            require_fips=settings.require_fips,
            offers=is_first and may_change(self._state.current, self._state.count),
        )

    # ---- what workers say

    def open_dictionary(
        self, worker: WorkerProcess, generation: Generation, message: messages.OpenDictionary
    ) -> None:
        """Lends the memory of a shared dictionary."""
        key: Key = (message.name, message.bytes)
        try:
            descriptor = self._state.dictionaries.lend(key)
        except (ValueError, OSError) as error:
            worker.send(messages.DictionaryOpened(error=str(error)))
            return
        generation.dictionaries.add(key)
        worker.send(messages.DictionaryOpened(), [descriptor])

    def prepared(
        self,
        worker: WorkerProcess,
        generation: Generation,
        message: messages.Prepared,
        stacks: int | None,
    ) -> None:
        """A worker has loaded and started up: it gets the sockets."""
        worker.became_prepared(message, stacks)
        self._lend(worker, generation)

    def ready(self, worker: WorkerProcess, generation: Generation) -> None:
        """A worker accepts: with the last of a pending generation, that is the current one."""
        worker.became_ready()
        self._state.inspections.joined(worker)
        self._state.log_followers.joined(worker)
        replace_if_outdated(self._state, worker, generation)
        log.debug("worker ready", extra={"worker": worker.pid, "generation": generation.number})
        is_pending = generation is self._state.pending
        if is_pending and generation.all_at_least(WorkerState.READY, self._state.count):
            self._promote(generation)

    def offered(
        self, worker: WorkerProcess, generation: Generation, message: messages.Offer, descriptor: int
    ) -> None:
        """Puts what the pending generation has loaded into the workers of the current one, if they can take it."""
        state, current = self._state, self._state.current
        if current is None or generation is not state.pending:
            return os.close(descriptor)  # stopped meanwhile
        try:
            every = [*message.listeners, *message.metrics]
            state.listeners.open(every, message.modes, message.places)
        except BindError as error:
            os.close(descriptor)
            return self.give_up(generation, str(error), EXIT_FAILURE)

        def applied() -> None:
            self.applying.change = state.pending = None
            current.number, current.modes = generation.number, message.modes
            current.agent_settings = generation.agent_settings
            self._take_resources(generation)
            current.metrics, current.statsd = message.metrics, message.statsd
            state.metrics.serve(current.metrics, state.listeners)
            state.metrics.push(current.statsd)
            state.listeners.keep_only(current.addresses)
            for one in current.workers.values():
                one.generation, one.resources = generation.number, worker.resources
            worker.stop(state.reactor)
            self._finish_reload(generation, in_place=True)

        def needs_workers() -> None:
            self.applying.change = None
            worker.send(messages.Proceed())

        def refused(error: str) -> None:
            self.applying.change = None
            self.give_up(generation, error, EXIT_FAILURE)

        self.applying.change = change = Changing(
            state, current, message.listeners, applied=applied, needs_workers=needs_workers, refused=refused
        )
        change.begin(message.change, descriptor)
        return None

    def _take_resources(self, generation: Generation) -> None:
        if generation.resources:
            self._state.hold(generation.resources)
            generation.resources = None

    def draining(self, worker: WorkerProcess) -> None:
        """An old worker accepts nothing any more."""
        if self._still_accepting:
            self._still_accepting.done_by(worker)

    def left(self, worker: WorkerProcess) -> None:
        """A worker has ended: nothing is to be expected of it."""
        self.applying.left(worker)
        if self._still_accepting:
            self._still_accepting.done_by(worker)

    # ---- steps

    def _lend(self, worker: WorkerProcess, generation: Generation) -> None:
        state = self._state
        if state.count is None:
            state.count = worker.wanted_workers or usable_cpus()
        if generation is state.pending and worker.slot == 0:
            generation.listeners, generation.modes = worker.listeners, worker.modes
            generation.places = worker.places
            generation.metrics, generation.statsd = worker.metrics, worker.statsd
            self._log_module(worker)
            for slot in range(1, state.count):
                self.start_worker(generation, slot, exits=0)
        alone = generation is state.current or state.current is None
        if not alone and not generation.all_at_least(WorkerState.PREPARED, state.count):
            return  # no worker of a new version accepts before all of it has loaded
        try:
            state.listeners.open(generation.addresses, generation.modes, generation.places)
            if state.current is None and state.predecessor is None:
                state.metrics.serve(generation.metrics, state.listeners)
                state.metrics.push(generation.statsd)
            for one in [worker] if alone else generation.workers.values():
                listeners, descriptors = state.listeners.lend(generation.listeners, one.slot, state.count)
                if one.ships_logs:
                    state.log_pipe.lend(one)  # before its first request
                one.send(messages.Listen(listeners=listeners), descriptors)
        except BindError as error:
            worker.error = str(error)
            if generation is state.pending:
                return self.give_up(generation, str(error), EXIT_FAILURE)
            worker.process.signal(signal.SIGKILL)

    def _log_module(self, worker: WorkerProcess) -> None:
        """Logs which cryptographic module the workers have, at the start and when it is another one after a reload."""
        if worker.tls_module != self._tls_module:
            self._tls_module = worker.tls_module
            name, is_fips = worker.tls_module
            log.info("tls module=%s", name, extra={"fips": is_fips})

    def _promote(self, generation: Generation) -> None:
        state = self._state
        old, state.current, state.pending = state.current, generation, None
        self._take_resources(generation)
        state.metrics.serve(generation.metrics, state.listeners)
        state.metrics.push(generation.statsd)
        state.listeners.keep_only(generation.addresses)
        state.dictionaries.keep_only(generation.dictionaries)
        if old is None or not old.workers:
            if old is None:
                self._serving()
            return self._finish_reload(generation)

        def done() -> None:
            self._still_accepting = None
            self._finish_reload(generation)

        # the reload is reported when the old workers have stopped accepting
        self._still_accepting = Awaited(old.workers.values(), done)
        state.reactor.call_later(STOP_ACCEPTING_LIMIT_S, self._still_accepting.end)
        for worker in old.workers.values():
            worker.drain(state.reactor)
        self._stop_oldest(generation)

    def _stop_oldest(self, current: Generation) -> None:
        """Stops the oldest generations that drain where there are more of them than there may be."""
        most = min(worker.max_draining for worker in current.workers.values())
        draining = [one for one in self._state.workers.values() if one.state is WorkerState.DRAINING]
        for number in sorted({one.generation for one in draining})[:-most]:
            facts = {"generation": number}
            log.warning("more than %d former generations drain; stopping the oldest", most, extra=facts)
            for worker in draining:
                if worker.generation == number:
                    worker.stop(self._state.reactor)

    def _finish_reload(self, generation: Generation, *, in_place: bool = False) -> None:
        number = generation.number
        if number > 1:
            facts = {"generation": number} | ({"in_place": True} if in_place else {})
            log.info("reloaded", extra=facts)
            self._remember(ReloadOutcome(ok=True, generation=number, at=_now(), in_place=in_place))
        for respond in generation.waiting:
            respond(Reloaded(generation=number, in_place=in_place))
        notify.ready(os.getpid())
        self._settled(number > 1)

    def give_up(self, generation: Generation, error: str, code: int) -> None:
        """The pending generation cannot serve: the current one stays, or the program ends if there is none."""
        state = self._state
        state.pending = None
        if generation.resources:
            generation.resources.close()
            generation.resources = None
        self.applying.end()
        for worker in generation.workers.values():
            worker.drain(state.reactor)
        if generation.number > 1:
            self._remember(ReloadOutcome(ok=False, generation=generation.number, at=_now(), error=error))
        for respond in generation.waiting:
            respond(Refused(error=error))
        if state.current is None:
            self._failed(error, code)
        else:
            state.dictionaries.keep_only(state.current.dictionaries)
            state.listeners.keep_only(state.current.addresses)
            log.error("reload failed; still serving generation %d: %s", state.current.number, error)
            notify.ready(os.getpid())
            self._settled(False)

    def _remember(self, outcome: ReloadOutcome) -> None:
        self.last_reload = outcome
        what = ("applied" if outcome.in_place else "started") if outcome.ok else "failed"
        self._state.metrics.reloaded(what, self._state.current.number if self._state.current else 0)


def _now() -> float:
    return round(time.time(), 3)
