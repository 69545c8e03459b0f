"""The agent of this node as the supervisor sees it: started where the file has a `store` or `admin`, and kept alive.

How it works: the first worker that loads such a file asks for its resources. That starts the agent, which lends them;
they are held here from then on, and every later worker gets them at once, whether the agent or the store is there or
not. The sockets of the Admin API are held here too: a caller waits while the agent is started anew.

| event                         | what happens                                                                  |
|-------------------------------|-------------------------------------------------------------------------------|
| the agent ends                | it is started again after the back-off; what it proposed and accepted goes on |
| a reload is in force          | it is started again, since it has loaded the file as well                     |
| the file wants none any more  | it is stopped                                                                 |
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable

from headgate.control import agent_messages as messages
from headgate.control.channel import Channel, ChannelClosed
from headgate.control.commands import GetStatus
from headgate.control.reactor import Timer
from headgate.control.records import Message, MessageError
from headgate.control.resource_messages import NodeSettings, ResourcesLent, SecretFiles
from headgate.supervisor.backoff import exits_in_a_row, restart_delay_s
from headgate.supervisor.listeners import BindError
from headgate.supervisor.proposals import POSTPONED, Proposals
from headgate.supervisor.resources import Held
from headgate.supervisor.spawn import spawn
from headgate.supervisor.state import State
from headgate.supervisor.workers import Generation, WorkerProcess

MODULE = "headgate.agent"
KILL_AFTER_S = 5.0

log = logging.getLogger("headgate.supervisor")


class AgentProcess:
    """One agent process, and the means to talk to it and to end it."""

    def __init__(self, settings: NodeSettings, exits: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = spawn(MODULE, [], theirs, ours)
        ours.setblocking(False)
        self.channel = Channel(ours, messages.FROM_AGENT)
        self.settings, self.exits = settings, exits
        self.started = time.monotonic()
        self.error: str | None = None
        self.kill: Timer | None = None

    def send(self, message: Message, descriptors: list[int] | None = None) -> None:
        """Sends a message; one that has exited does not get it, which its exit will show."""
        try:
            self.channel.send(message, descriptors)
        except (ChannelClosed, BlockingIOError):
            pass


class Agents:
    """Starts the agent, lends its resources to workers, carries its proposals."""

    def __init__(
        self,
        state: State,
        proposals: Proposals,
        status: Callable[[Callable[[Message], None]], None],
        secret_files: Callable[[SecretFiles], None],
    ) -> None:
        self._state, self._proposals, self._status = state, proposals, status
        self._secret_files = secret_files
        proposals.reply = self._reply
        self._agent: AgentProcess | None = None
        self._all: list[AgentProcess] = []
        self._waiting: list[WorkerProcess] = []
        self._is_stopping = False
        self._wanted: NodeSettings | None = None
        self._held_settings: NodeSettings | None = None
        """What the resources that are held were loaded with."""

    @property
    def are_gone(self) -> bool:
        """Whether no agent is left."""
        return not self._all

    def lend(self, worker: WorkerProcess, generation: Generation, settings: NodeSettings) -> None:
        """Sends a worker the resources as soon as they are available."""
        generation.agent_settings = settings
        held = generation.resources or self._state.resources
        if held and self._held_settings == settings:
            return self._send(worker, held)
        self._waiting.append(worker)
        if self._wanted != settings or self._agent is None:
            self._begin(settings)
        return None

    def settled(self, *, is_reloaded: bool) -> None:
        """A reload is over: the agent loads the file anew, or is not wanted any more."""
        current = self._state.current
        if self._is_stopping or current is None:
            return
        settings = current.agent_settings
        if settings is None:
            if self._wanted:
                self._wanted = None
                self._end_agent()
                self._state.admin_listeners.keep_only([])
                self._state.hold(None)
        elif is_reloaded or settings != self._wanted:
            self._begin(settings)

    def stop(self) -> None:
        """Ends the agent, and starts no other one."""
        self._is_stopping = True
        self._end_agent()

    # ---- steps

    def _begin(self, settings: NodeSettings) -> None:
        """Starts an agent with these settings, in the place of the one that runs."""
        self._end_agent()
        self._wanted = settings
        self._start(settings, 0)

    def _start(self, settings: NodeSettings, exits: int) -> None:
        state, run = self._state, self._state.settings
        try:
            listeners, descriptors = state.open_admin(settings.listen)
        except BindError as error:
            return self._fail_waiting(str(error))
        agent = self._agent = AgentProcess(settings, exits)
        self._all.append(agent)
        state.agent = agent.process.pid
        state.reactor.watch(agent.channel, lambda: self._on_readable(agent))
        state.reactor.watch(agent.process.pidfd, lambda: self._on_exit(agent))
        is_restarted = bool(state.resources) and self._held_settings == settings
        if is_restarted and state.resources:
            descriptors = [*descriptors, state.resources.descriptor]
        start = messages.AgentStart(
            source=run.source,
            settings=settings,
            addresses=listeners,
            user=run.user,
            group=run.group,
            log_format=run.log_format,
            log_level=run.log_level,
            is_restarted=is_restarted,
            resources_bytes=state.resources.bytes if state.resources else 0,
            waits_for_lock=state.predecessor is not None or len(self._all) > 1,
        )
        agent.send(start, descriptors)
        return None

    def _end_agent(self) -> None:
        agent = self._agent
        if agent is None:
            return
        self._proposals.agent_left()
        self._agent = None
        agent.process.signal(signal.SIGTERM)
        agent.kill = self._state.reactor.call_later(
            KILL_AFTER_S, lambda: agent.process.signal(signal.SIGKILL)
        )

    def _on_readable(self, agent: AgentProcess) -> None:
        try:
            message, descriptors = agent.channel.receive()
        except BlockingIOError:
            return
        except (ChannelClosed, MessageError) as error:
            self._state.reactor.unwatch(agent.channel)
            if isinstance(error, MessageError):
                log.error("invalid message from the agent: %s", error)
                agent.process.signal(signal.SIGKILL)
            return
        if agent is self._agent:
            self._on_message(agent, message, descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        if isinstance(
            message, messages.Propose
        ):  # one that is ending: whoever asked it is to ask the next one
            agent.send(POSTPONED)
        elif isinstance(message, GetStatus):
            self._status(agent.send)

    def _on_message(self, agent: AgentProcess, message: Message, descriptors: list[int]) -> None:
        match message:
            case messages.Resources():
                self._state.hold(Held(descriptors[0]))
                self._held_settings = agent.settings
                waiting, self._waiting = self._waiting, []
                for worker in waiting:
                    if self._state.resources:
                        self._send(worker, self._state.resources)
            case messages.AgentReady():
                agent.exits = 0
            case messages.AgentFailed():
                agent.error = message.error
                self._fail_waiting(message.error)
            case messages.Propose():
                self._proposals.propose(message, *descriptors)
            case messages.Accept():
                self._proposals.accept()
            case messages.Withdraw():
                self._proposals.withdraw()
            case SecretFiles():
                self._secret_files(message)
            case GetStatus():
                self._status(self._reply)

    def _reply(self, message: Message) -> None:
        if self._agent:
            self._agent.send(message)

    def _on_exit(self, agent: AgentProcess) -> None:
        state = self._state
        self._read_last_messages(agent)
        state.reactor.unwatch(agent.process.pidfd)
        state.reactor.unwatch(agent.channel)
        if agent.kill:
            agent.kill.cancel()
        agent.channel.close()
        status = agent.process.reap()
        self._all.remove(agent)
        if state.agent == agent.process.pid:
            state.agent = None
        if agent is self._agent:
            self._agent = None
            self._proposals.agent_left()
            self._restart_later(agent, status)
        state.agent_left()

    def _read_last_messages(self, agent: AgentProcess) -> None:
        while True:
            try:
                message, descriptors = agent.channel.receive()
            except (OSError, ValueError):
                return
            if agent is self._agent and not self._is_stopping:
                self._on_message(agent, message, descriptors)
            else:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _restart_later(self, agent: AgentProcess, status: int) -> None:
        if self._is_stopping or agent.settings != self._wanted:
            return
        exits = exits_in_a_row(agent.exits, time.monotonic() - agent.started)
        delay_s = restart_delay_s(exits)
        cause = agent.error or (f"killed by signal {-status}" if status < 0 else f"with status {status}")
        log.error("agent exited: %s", cause, extra={"exits": exits, "restart_in_s": round(delay_s, 2)})

        def restart() -> None:
            if not self._is_stopping and self._agent is None and self._wanted == agent.settings:
                self._start(agent.settings, exits)

        self._state.reactor.call_later(delay_s, restart)

    def _send(self, worker: WorkerProcess, held: Held) -> None:
        worker.resources = held.number
        worker.send(ResourcesLent(bytes=held.bytes), [held.descriptor])

    def _fail_waiting(self, error: str) -> None:
        waiting, self._waiting = self._waiting, []
        for worker in waiting:
            worker.send(ResourcesLent(error=error))
        if not waiting:
            log.error("the agent cannot be served: %s", error)
