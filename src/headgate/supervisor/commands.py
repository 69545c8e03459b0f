"""What operators ask for, by signal or by the command line: stop, reload, upgrade, reopen logs, status."""

import logging
import os
import time
from collections.abc import Callable
from typing import cast, get_args

from headgate.control import commands
from headgate.control.endpoint import Respond
from headgate.control.hook_times import by_hook
from headgate.control.records import Message
from headgate.control.signals import Intent
from headgate.supervisor import notify
from headgate.supervisor.generations import Generations
from headgate.supervisor.state import State
from headgate.supervisor.status import StatusRound
from headgate.supervisor.upgrade import SERVERS, Successor
from headgate.supervisor.workers import WorkerProcess

log = logging.getLogger("headgate.supervisor")


class Commands:
    """Carries out commands; `stopped` is called once a stop has begun, `replaced` when a successor serves."""

    def __init__(
        self,
        state: State,
        generations: Generations,
        *,
        stopped: Callable[[], None],
        replaced: Callable[[], None],
    ) -> None:
        self._state, self._generations = state, generations
        self._stopped, self._replaced = stopped, replaced
        self._status_rounds: list[StatusRound] = []
        self._reload_again: list[Respond] = []
        self._successor: Successor | None = None

    def handle_signals(self, intents: list[Intent]) -> None:
        """Acts on what came by signal."""
        for intent in intents:
            match intent:
                case Intent.STOP | Intent.STOP_NOW:
                    self.stop(intent)
                case Intent.RELOAD:
                    self.reload(_log_only)
                case Intent.REOPEN_LOGS:
                    self._reopen_logs()
                case Intent.UPGRADE:
                    self._upgrade(_log_only)

    def handle(self, command: Message, respond: Respond) -> None:
        """Acts on what came over the control socket."""
        match command:
            case commands.GetStatus():
                self.tell_status(respond)
            case commands.GetHookTimes():
                self._ask_workers(lambda: respond(self._hook_times()), hooks=True)
            case commands.GetMetrics():
                respond(commands.MetricsReply(metrics=self._state.metrics.json()))
            case commands.Reload():
                self.reload(respond)
            case commands.Upgrade():
                self._upgrade(respond)
            case commands.Stop(now=now):
                respond(commands.Done())
                self.stop(Intent.STOP_NOW if now else Intent.STOP)
            case commands.ReopenLogs():
                self._reopen_logs()
                respond(commands.Done())
            case commands.GetProfile(seconds=seconds, interval_s=interval_s):
                self._state.profiles.begin(seconds, interval_s, respond)
            case commands.SetServer():
                self._set_server(command, respond)

    def _set_server(self, command: commands.SetServer, respond: Respond) -> None:
        if command.state not in get_args(commands.AdminState):
            return respond(commands.Refused(error=f"`{command.state}` is not a valid state of a server"))
        state = cast(commands.AdminState, command.state)
        self._state.zone.set_server_state(command.upstream, command.server, state)
        log.info(
            "a server's state is set",
            extra={"upstream": command.upstream, "server": command.server, "state": state},
        )
        self._state.tell_server_state(command.upstream, command.server, state)
        respond(commands.Done())
        return None

    def tell_status(self, respond: Respond) -> None:
        """Asks the workers how they are, and says so."""
        self._ask_workers(lambda: respond(self.status()))

    def stop(self, intent: Intent, *, announce: bool = True) -> None:
        """Accepts nothing any more and stops every worker, now or when its requests are done."""
        state = self._state
        if not state.stopping and state.current and announce:
            notify.stopping()
            is_now = intent is Intent.STOP_NOW
            log.info("stopping" if is_now else "stopping when the requests in flight are done")
        state.stopping = intent
        state.metrics.set_ready(False)
        state.inspections.end_all()
        state.log_followers.end_all()
        state.pending = None
        state.listeners.close(keep_socket_files=self._is_another_serving)
        state.admin_listeners.close(keep_socket_files=self._is_another_serving)
        for worker in list(state.workers.values()):
            if intent is Intent.STOP_NOW:
                worker.stop(state.reactor)
            else:
                worker.drain(state.reactor)
        self._stopped()

    @property
    def _is_another_serving(self) -> bool:
        """Whether a successor has taken over the sockets, or a predecessor kept them, since nothing here served."""
        if self._successor:
            return self._successor.took_over
        return self._state.predecessor is not None and self._state.current is None

    def reload(self, respond: Respond) -> None:
        """Starts a new generation, or another one after that which is pending."""
        if self._state.stopping:
            return respond(commands.Refused(error="the gateway is stopping"))
        if self._generations.is_reloading:
            # What is loading may have read the files before they changed: do it once more afterwards, for all
            # who ask.
            self._reload_again.append(respond)
            return None
        notify.reloading()
        self._generations.begin(respond)
        return None

    def reload_for_itself(self) -> None:
        """Reloads where nobody has asked for it, and nobody waits."""
        if not self._reload_again and not self._state.stopping:
            self.reload(_log_only)

    def reload_if_asked_meanwhile(self) -> None:
        """Does what was asked for during a reload."""
        if waiting := self._reload_again:
            self._reload_again = []
            for respond in waiting:
                self.reload(respond)

    def _reopen_logs(self) -> None:
        for worker in self._state.workers.values():
            worker.reopen_logs()

    def _upgrade(self, respond: Respond) -> None:
        state = self._state
        if state.stopping or self._successor or state.current is None:
            return respond(commands.Refused(error="an upgrade or a stop is under way"))

        def done(successor: Successor, error: str | None) -> None:
            if error:
                self._successor = None
                state.metrics.stays()
                log.error("upgrade failed; still serving with the old program: %s", error)
                return respond(commands.Refused(error=error))
            log.info("upgraded", extra={"successor": successor.pid})
            self._replaced()
            state.metrics.serve([], state.listeners)
            respond(commands.Upgraded(pid=successor.pid))
            notify.notify(f"MAINPID={successor.pid}")
            self.stop(Intent.STOP, announce=False)

        metrics, memory = state.metrics.for_successor()
        self._successor = Successor(
            state.reactor,
            state.listeners.descriptors(),
            state.admin_listeners.descriptors(),
            state.dictionaries.descriptors(),
            {**state.ticket_keys.for_successor(), SERVERS: state.zone.states_for_successor()},
            (metrics, memory),
            done,
        )
        for descriptor in memory:
            os.close(descriptor)
        return None

    # ---- status

    def _ask_workers(self, done: Callable[[], None], *, hooks: bool = False) -> None:
        workers = list(self._state.workers.values())
        self._status_rounds.append(StatusRound(self._state.reactor, workers, done, hooks=hooks))

    def reported(self, worker: WorkerProcess) -> None:
        """A worker has reported, or has ended."""
        for one in self._status_rounds:
            one.reported(worker)
        self._status_rounds = [one for one in self._status_rounds if not one.is_over]

    def _hook_times(self) -> commands.HookTimesReply:
        every = [times for worker in self._state.workers.values() for times in worker.hook_times]
        return commands.HookTimesReply(hooks=by_hook(every))

    def status(self) -> commands.Status:
        """What `headgate status` shows."""
        state = self._state
        workers = sorted(state.workers.values(), key=lambda worker: (worker.slot, worker.pid))
        return commands.Status(
            pid=os.getpid(),
            source=state.settings.source,
            generation=state.current.number if state.current else 0,
            reloading=self._generations.is_reloading,
            stopping=state.stopping is not None,
            uptime_s=round(time.time() - state.started, 1),
            listeners=state.listeners.bound(),
            workers=[worker.status() for worker in workers],
            counters=state.zone.counters(),
            last_reload=self._generations.last_reload,
            admin=state.admin_listeners.bound(),
            servers=state.zone.server_states(),
            names=state.names,
            agent=state.agent,
            monitor=state.monitor,
            shipper=state.shipper,
            tunnel=state.brokers.get("tunnel"),
            dispatcher=state.brokers.get("dispatcher"),
            loop_holds=list(state.loop_holds),
        )


def _log_only(reply: Message) -> None:
    """Takes the reply to what came by signal: the log has it."""
