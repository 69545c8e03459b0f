"""The supervisor: puts its parts together, and hands each of them what workers say.

The parts: `generations` (how a version comes into force), `exits` (workers that end), `commands` (what operators ask
for), `heartbeats` (workers that hang). They share the `state`.
"""

import logging
import os
import signal
import time
from functools import partial

from headgate.control import commands, inspection_messages, messages, runtime
from headgate.control.channel import ChannelClosed
from headgate.control.endpoint import Endpoint, Followers
from headgate.control.records import Message, MessageError
from headgate.control.resource_messages import GetResources, SecretFiles
from headgate.control.signals import Intent, SignalPipe
from headgate.supervisor import pid_file
from headgate.supervisor.agents import Agents
from headgate.supervisor.brokers import DISPATCHER, TUNNEL, Brokers
from headgate.supervisor.commands import Commands
from headgate.supervisor.ejections import Ejections
from headgate.supervisor.exits import Exits
from headgate.supervisor.generations import Generations
from headgate.supervisor.heartbeats import Heartbeats
from headgate.supervisor.monitors import Monitors
from headgate.supervisor.proposals import Proposals
from headgate.supervisor.proposing import Proposing
from headgate.supervisor.secret_files import SecretFileWatch
from headgate.supervisor.settings import RunSettings
from headgate.supervisor.shippers import Shippers
from headgate.supervisor.state import State
from headgate.supervisor.workers import Generation, WorkerProcess
from headgate.supervisor.zygotes import Zygote

log = logging.getLogger("headgate.supervisor")


class Supervisor:
    """Runs one gateway until it is stopped; `first` was started ahead of time."""

    def __init__(self, settings: RunSettings, first: Zygote | None = None) -> None:
        self._state = State(settings, first)
        self._generations = Generations(
            self._state,
            watch=self._watch,
            serving=self._serving,
            failed=self._failed,
            settled=self._settled,
        )
        proposing = Proposing(self._state, self._generations, partial(self._settled, False))
        self._proposals = Proposals(self._state, self._generations, proposing)
        self._exits = Exits(self._state, self._generations)
        self._commands = Commands(
            self._state, self._generations, stopped=self._end_if_alone, replaced=self._close_endpoint
        )
        self._secrets = SecretFileWatch(self._state.reactor, self._commands.reload_for_itself)
        self._agents = Agents(
            self._state, self._proposals, self._commands.tell_status, partial(self._secrets.told, "agent")
        )
        self._monitors = Monitors(self._state)
        self._shippers = Shippers(self._state)
        self._brokers = [Brokers(self._state, kind) for kind in (TUNNEL, DISPATCHER)]
        self._state.agent_left = self._end_if_alone
        self._heartbeats = Heartbeats(self._state)
        self._ejections = Ejections(self._state)
        self._endpoint: Endpoint | None = None
        self._has_ended = False

    @property
    def failure(self) -> str | None:
        """Why the gateway could not start, for the user to read."""
        return self._state.failure

    def run(self) -> int:
        """Serves until stopped; the exit code."""
        state = self._state
        signals = SignalPipe()
        state.reactor.watch(signals, lambda: self._commands.handle_signals(signals.intents()))
        if state.predecessor:
            state.listeners.inherit(state.predecessor.listeners)
            state.dictionaries.inherit(state.predecessor.dictionaries)
            state.zone.restore(state.predecessor.servers)
            state.admin_listeners.inherit(state.predecessor.admin_listeners)
            if state.predecessor.metrics:
                state.metrics.inherit(state.predecessor.metrics)
        self._generations.begin()
        state.reactor.run()
        return state.exit_code

    # ---- workers

    def _watch(self, worker: WorkerProcess, generation: Generation) -> None:
        self._state.reactor.watch(worker.channel, lambda: self._on_readable(worker, generation))
        self._state.reactor.watch(worker.process.pidfd, lambda: self._on_exit(worker, generation))

    def _on_readable(self, worker: WorkerProcess, generation: Generation) -> None:
        try:
            message, descriptors = worker.channel.receive()
        except BlockingIOError:
            return
        except ChannelClosed:
            self._state.reactor.unwatch(worker.channel)
            return
        except MessageError as error:
            worker.error = str(error)
            worker.process.signal(signal.SIGKILL)
            return
        self._on_message(worker, generation, message, descriptors)

    def _on_message(
        self, worker: WorkerProcess, generation: Generation, message: Message, descriptors: list[int]
    ) -> None:
        generations = self._generations
        match message:
            case messages.OpenDictionary():
                generations.open_dictionary(worker, generation, message)
            case GetResources(settings=settings):
                self._agents.lend(worker, generation, settings)
            case SecretFiles():
                self._secrets.told("workers", message)
            case messages.Prepared():
                generations.prepared(worker, generation, message, descriptors[0] if descriptors else None)
            case messages.Ready(plans=digests):
                generation.intends(digests, descriptors)
                generations.ready(worker, generation)
            case messages.Offer():
                generations.offered(worker, generation, message, *descriptors)
            case messages.ChangePrepared():
                generations.applying.prepared(worker, message)
            case messages.Applied(plans=digests, keeps_plans=keeps_plans):
                if not keeps_plans:
                    generation.intends(digests, descriptors)
                generations.applying.applied(worker)
            case messages.Pong():
                self._heartbeats.responded(worker)
            case messages.Draining():
                generations.draining(worker)
            case inspection_messages.Inspecting() | inspection_messages.Hit():
                self._state.inspections.on_message(worker, message)
            case inspection_messages.LoopHeld():
                hold = commands.LoopHold(at=round(time.time(), 3), worker=worker.pid, **message.plain())
                self._state.loop_holds.appendleft(hold)
            case inspection_messages.ProfileTaken():
                self._state.profiles.taken(worker, message, descriptors)
            case messages.Failed():
                worker.failed(message)
            case messages.Report():
                worker.report, worker.hook_times = message.report, message.hooks
                self._commands.reported(worker)

    def _on_exit(self, worker: WorkerProcess, generation: Generation) -> None:
        self._exits.collect(worker, generation)
        self._commands.reported(worker)
        self._end_if_alone()

    # ---- the gateway's own life

    def _serving(self) -> None:
        """The first generation accepts: says so in the pid file, on the control socket, to systemd and in the log."""
        state, pid = self._state, os.getpid()
        if state.settings.pid_file:
            try:
                pid_file.write(state.settings.pid_file, pid)
            except OSError as error:
                log.error("cannot write the pid file: %s", error)
        try:
            path = runtime.control_socket_path(runtime.made(), pid)
            followers: Followers = {
                commands.Look: state.inspections.begin,
                commands.FollowLogs: state.log_followers.begin,
            }
            self._endpoint = Endpoint(state.reactor, path, self._commands.handle, followers)
        except OSError as error:
            log.warning("no control socket; only signals work: %s", error)
        state.metrics.set_ready(True)
        state.metrics.begin(state.workers, state.dictionaries)
        state.metrics.is_generation(state.current.number if state.current else 0)
        if state.predecessor:
            state.predecessor.take_over()
        log.info(
            "serving",
            extra={"listening": state.listeners.bound(), "workers": state.count, "supervisor": pid},
        )
        self._heartbeats.begin()
        if not state.settings.is_plain:
            self._ejections.begin()
        if os.geteuid() == 0 and not state.settings.user:
            log.warning("workers run as root; use --user NAME to drop privileges")

    def _settled(self, is_reloaded: bool) -> None:
        self._agents.settled(is_reloaded=is_reloaded)
        self._monitors.settled()
        self._shippers.settled()
        for broker in self._brokers:
            broker.settled()
        self._commands.reload_if_asked_meanwhile()
        self._proposals.settled()

    def _failed(self, error: str, code: int) -> None:
        self._state.failure, self._state.exit_code = error, code
        self._commands.stop(Intent.STOP_NOW)

    def _close_endpoint(self) -> None:
        if self._endpoint:
            self._endpoint.close()
            self._endpoint = None

    def _end_if_alone(self) -> None:
        state = self._state
        if not state.stopping or self._has_ended:
            return
        if not state.workers or self._state.stopping:
            self._agents.stop()
            self._monitors.stop()
            for broker in self._brokers:
                broker.leaving()
        if not state.workers:
            self._shippers.stop()
            for broker in self._brokers:
                broker.stop()
        sides = (self._agents, self._monitors, self._shippers)
        are_gone = all(one.are_gone for one in sides) and all(one.are_gone for one in self._brokers)
        if state.workers or not are_gone:
            return
        self._has_ended = True
        state.metrics.push({})
        self._close_endpoint()
        if state.settings.pid_file:
            pid_file.remove(state.settings.pid_file, os.getpid())
        if state.current:
            log.info("stopped")
        state.reactor.stop()
