"""The agent of this node as the supervisor sees it: started where the file has work for it, and kept alive.

How it works: such a file has a `store` or `admin`, certificates to be ordered, or servers to be found by name. The
first worker that loads it asks for its resources. That starts the agent, which lends them; they are held here from
then on, and every later worker gets them at once, whether the agent or the store is there or not. The sockets of the
Admin API are held here too: a caller waits while the agent is started anew.

| event                         | what happens                                                                  |
|-------------------------------|-------------------------------------------------------------------------------|
| the agent ends                | it is started again after the back-off; what it proposed and accepted goes on |
| a reload is in force          | it is started again, since it has loaded the file as well                     |
| the file wants none any more  | it is stopped                                                                 |
"""

import logging
import os
import socket
import time
from collections.abc import Callable

from headgate.control import agent_messages as messages
from headgate.control import memory
from headgate.control.commands import FollowLogs, GetMetrics, GetProfile, GetStatus, Look, Profiled, Refused
from headgate.control.endpoint import Line
from headgate.control.reactor import Reactor
from headgate.control.records import Message
from headgate.control.resource_messages import NodeSettings, ResourcesLent, SecretFiles
from headgate.supervisor.listeners import BindError
from headgate.supervisor.proposals import POSTPONED, Proposals
from headgate.supervisor.resources import Held
from headgate.supervisor.side_process import SideProcess
from headgate.supervisor.state import State
from headgate.supervisor.workers import Generation, WorkerProcess

log = logging.getLogger("headgate.supervisor")


class AgentProcess(SideProcess):
    """One agent, which works with these settings."""

    def __init__(self, reactor: Reactor, settings: NodeSettings, exits: int) -> None:
        super().__init__(reactor, "headgate.agent", messages.FROM_AGENT, exits)
        self.settings = settings


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
                self._state.names = []
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
        assert run.source.file, "only a file has settings for an agent"
        try:
            listeners, descriptors = state.open_admin(settings.listen)
        except BindError as error:
            return self._fail_waiting(str(error))
        agent = self._agent = AgentProcess(state.reactor, settings, exits)
        self._all.append(agent)
        state.agent = agent.pid
        agent.watch(lambda: self._on_readable(agent), lambda: self._on_exit(agent))
        is_restarted = bool(state.resources) and self._held_settings == settings
        if is_restarted and state.resources:
            descriptors = [*descriptors, state.resources.descriptor]
        memory = state.metrics.memory_for()
        state.metrics.counts_in(agent.pid, memory)
        start = messages.AgentStart(
            file=run.source.file,
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
        agent.send(start, [memory, *descriptors])
        os.close(memory)
        return None

    def _end_agent(self) -> None:
        agent = self._agent
        if agent is None:
            return
        self._proposals.agent_left()
        self._state.log_followers.agent_left()
        self._agent = None
        agent.terminate()

    def _on_readable(self, agent: AgentProcess) -> None:
        received = agent.receive()
        if received is None:
            return
        message, descriptors = received
        if agent is self._agent:
            self._on_message(agent, message, descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        if isinstance(message, messages.Propose | messages.ProposeDifference):
            agent.send(POSTPONED)  # one that is ending: whoever asked it is to ask the next one
        elif isinstance(message, GetStatus):
            self._status(agent.send)
        elif isinstance(message, GetMetrics):
            self._lend_metrics(agent)

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
            case messages.Propose() | messages.ProposeDifference():
                self._proposals.propose(message, descriptors)
            case messages.Accept():
                self._proposals.accept()
            case messages.Withdraw():
                self._proposals.withdraw()
            case SecretFiles():
                self._secret_files(message)
            case messages.Discovered():
                self._state.names = message.names
                for one in message.changes:
                    self._state.tell_server_state(one.upstream, one.server, one.state)
            case GetStatus():
                self._status(self._reply)
            case GetMetrics():
                self._lend_metrics(agent)
            case GetProfile(seconds=seconds, interval_s=interval_s):
                self._state.profiles.begin(seconds, interval_s, lambda reply: _lend_profile(agent, reply))
            case Look():
                line = Line(self._state.reactor, socket.socket(fileno=descriptors[0]), [])
                self._state.inspections.begin(message, line)
            case FollowLogs():
                self._state.log_followers.agent_follows(descriptors)
            case messages.UnfollowLogs():
                self._state.log_followers.agent_left()

    def _lend_metrics(self, agent: AgentProcess) -> None:
        begun = time.thread_time()
        descriptor = memory.holding("metrics", self._state.metrics.json().encode())
        try:
            agent.send(messages.MetricsLent(took_s=time.thread_time() - begun), [descriptor])
        finally:
            os.close(descriptor)

    def _reply(self, message: Message) -> None:
        if self._agent:
            self._agent.send(message)

    def _on_exit(self, agent: AgentProcess) -> None:
        state = self._state
        for message, descriptors in agent.last_messages():
            if agent is self._agent and not self._is_stopping:
                self._on_message(agent, message, descriptors)
            else:
                for descriptor in descriptors:
                    os.close(descriptor)
        status = agent.reap()
        state.metrics.no_longer_counts(agent.pid)
        self._all.remove(agent)
        if state.agent == agent.pid:
            state.agent = None
        if agent is self._agent:
            self._agent = None
            self._proposals.agent_left()
            state.log_followers.agent_left()
            self._restart_later(agent, status)
        state.agent_left()

    def _restart_later(self, agent: AgentProcess, status: int) -> None:
        if self._is_stopping or agent.settings != self._wanted:
            return

        def restart(exits: int) -> None:
            if not self._is_stopping and self._agent is None and self._wanted == agent.settings:
                self._start(agent.settings, exits)

        agent.replace_later(status, restart)

    def _send(self, worker: WorkerProcess, held: Held) -> None:
        worker.resources = held.number
        worker.send(ResourcesLent(bytes=held.bytes), [held.descriptor])

    def _fail_waiting(self, error: str) -> None:
        waiting, self._waiting = self._waiting, []
        for worker in waiting:
            worker.send(ResourcesLent(error=error))
        if not waiting:
            log.error("the agent cannot be served: %s", error)


def _lend_profile(agent: AgentProcess, reply: Message) -> None:
    if isinstance(reply, Refused):
        agent.send(messages.ProfileLent(error=reply.error))
    elif isinstance(reply, Profiled):
        descriptor = memory.written("profile", reply.profile)
        try:
            agent.send(messages.ProfileLent(workers=reply.workers, missing=reply.missing), [descriptor])
        finally:
            os.close(descriptor)
