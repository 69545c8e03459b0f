"""One worker as the supervisor sees it, and the generations that workers belong to."""

import enum
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from headgate.config.start_limit import ENVIRONMENT, start_limit_s
from headgate.control import memory, messages
from headgate.control.channel import Channel, ChannelClosed
from headgate.control.commands import WorkerStatus
from headgate.control.endpoint import Respond
from headgate.control.reactor import Reactor, TimerHandle
from headgate.control.records import Message
from headgate.control.resource_messages import NodeSettings
from headgate.supervisor.resources import Held
from headgate.supervisor.zygotes import ForkedWorker, Zygote

KILL_AFTER_S = 5.0


class Plan:
    """What a configuration has a process beside the workers do, in memory; `digest` tells it from others."""

    def __init__(self, digest: str, descriptor: int) -> None:
        self.digest, self.descriptor = digest, descriptor

    def servers(self) -> list[tuple[str, str]]:
        """The upstreams and addresses of the servers that a monitor's plan has checked."""
        plan = memory.read(os.dup(self.descriptor))
        return [(check["upstream"], server) for check in plan["checks"] for server in check["servers"]]

    def __del__(self) -> None:
        os.close(self.descriptor)


class WorkerState(enum.Enum):
    """Where a worker is in its life; it only ever moves down this list."""

    STARTING = "starting"
    PREPARED = "prepared"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"


class WorkerProcess:
    """A worker process: its place, its state, and the means to talk to it and to end it."""

    def __init__(
        self, process: ForkedWorker, *, slot: int, zone_slot: int | None, generation: int, exits: int
    ) -> None:
        self.process = process
        self.channel = Channel(process.end, messages.FROM_WORKER)
        self.slot, self.zone_slot, self.generation, self.exits = slot, zone_slot, generation, exits
        self.state = WorkerState.STARTING
        self.started = time.monotonic()
        self.error: str | None = None
        self.is_config_error = False
        self.listeners: list[str] = []
        self.modes: dict[str, int] = {}
        self.places: dict[str, str] = {}
        self.metrics: list[str] = []
        self.statsd: dict[str, Any] = {}
        """Where it wants metrics to be served."""
        self.ships_logs = False
        """Whether it wants each request written for the shipper."""
        self.log_pipe: int | None = None
        """The number of the pipe that it writes them into."""
        self.tls_module = ("", False)
        """Name of the cryptographic module, and whether it is the FIPS one."""
        self.wanted_workers: int | None = None
        self.drain_s = 30.0
        self.kill_s: float | None = None
        """Seconds of silence after which it is killed."""
        self.max_draining = 16
        """Former generations that drain beside its own at most."""
        self.awaits_pong = False
        self.silent_turns = 0
        """How often it was to respond since it last did."""
        self.sibling: int | None = None
        """The process that accepts in its place while it is blocked."""
        self.stacks: int | None = None
        """Memory that it writes its Python stacks into when it gets the signal for that."""
        self.resources: int | None = None
        """The number of the resources that it has loaded or applied."""
        self.report: messages.WorkerReport | None = None
        self.hook_times: list[messages.HookTimes] = []
        self._timer: TimerHandle | None = None
        self._kills = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def is_blocked(self) -> bool:
        """Whether it serves nothing, because its event loop does not run."""
        return self.silent_turns >= 2

    def dumped_stacks(self, longest_bytes: int) -> str | None:
        """What it has written of its Python stacks, the innermost call first."""
        if self.stacks is None:
            return None
        text = os.pread(self.stacks, longest_bytes, 0).decode(errors="replace").strip()
        return f"Stack (innermost first):\n{text}" if text else None

    def send(self, message: Message, descriptors: list[int] | None = None) -> bool:
        """Sends a message; false if it has exited or does not read, which its exit or its limit will show."""
        try:
            self.channel.send(message, descriptors)
        except (ChannelClosed, BlockingIOError):
            return False
        return True

    def limit_start(self, reactor: Reactor) -> None:
        """Ends it if it is not ready within the start limit."""

        limit = start_limit_s()

        def too_late() -> None:
            self.error = (
                f"not ready within {limit:g} s\n"
                f"  hint: move long-running work to a task or a thread; `{ENVIRONMENT}` raises the limit"
            )
            self.process.signal(signal.SIGKILL)

        self._set_timer(reactor, limit, too_late)

    def became_prepared(self, message: messages.Prepared, stacks: int | None) -> None:
        """It has loaded, and says what it wants."""
        self.state = WorkerState.PREPARED
        self.listeners, self.modes, self.places = message.listeners, message.modes, message.places
        self.metrics, self.statsd = message.metrics, message.statsd
        self.ships_logs = message.ships_logs
        self.tls_module = (message.tls_module, message.is_fips)
        self.wanted_workers = message.workers
        self.drain_s, self.kill_s = message.drain_s, message.kill_s
        self.max_draining = message.max_draining
        self.stacks = stacks

    def became_ready(self) -> None:
        """It accepts connections."""
        self.state = WorkerState.READY
        self._cancel_timer()

    def drain(self, reactor: Reactor) -> None:
        """Lets it finish what it does; past its drain limit it is stopped."""
        if self.state in (WorkerState.DRAINING, WorkerState.STOPPING):
            return
        if self.state is not WorkerState.READY:
            return self.stop(reactor)
        self.state = WorkerState.DRAINING
        self.process.signal(signal.SIGQUIT)
        self._set_timer(reactor, self.drain_s + KILL_AFTER_S, lambda: self.stop(reactor))

    def stop(self, reactor: Reactor) -> None:
        """Stops it at once; asked twice, or if it does not end, it is killed."""
        if self.state is WorkerState.STOPPING:
            self._kills = True
        self.state = WorkerState.STOPPING
        self.process.signal(signal.SIGKILL if self._kills else signal.SIGTERM)
        self._set_timer(reactor, KILL_AFTER_S, lambda: self.process.signal(signal.SIGKILL))

    def ended(self) -> int | None:
        """Collects the ended process; its exit code, or minus the signal; None if it is not known."""
        self._cancel_timer()
        self.channel.close()
        if self.stacks is not None:
            os.close(self.stacks)
            self.stacks = None
        return self.process.reap()

    def failed(self, message: messages.Failed) -> None:
        """It could not start, and says why."""
        self.error, self.is_config_error = message.error, message.is_config

    def reopen_logs(self) -> None:
        """Has it open its log files anew."""
        if self.state in (WorkerState.READY, WorkerState.DRAINING):
            self.process.signal(signal.SIGUSR1)

    def status(self) -> WorkerStatus:
        """Its line in the status."""
        return WorkerStatus(
            pid=self.pid,
            slot=self.slot,
            generation=self.generation,
            state="blocked" if self.is_blocked else self.state.value,
            uptime_s=round(time.monotonic() - self.started, 1),
            exits=self.exits,
            **(self.report.plain() if self.report else {}),
        )

    def _set_timer(self, reactor: Reactor, delay_s: float, callback: Callable[[], None]) -> None:
        self._cancel_timer()
        self._timer = reactor.call_later(delay_s, callback)

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


class Generation:
    """The workers that run one version of the code and configuration."""

    def __init__(self, number: int, zygote: Zygote) -> None:
        self.number, self.zygote = number, zygote
        """The process that its workers are forked from."""
        self.workers: dict[int, WorkerProcess] = {}
        self.listeners: list[str] = []
        self.modes: dict[str, int] = {}
        self.places: dict[str, str] = {}
        self.metrics: list[str] = []
        """Where metrics are served."""
        self.statsd: dict[str, Any] = {}
        """Where metrics are sent."""
        self.dictionaries: set[tuple[str, int]] = set()
        """Name and size of what its workers have asked for."""
        self.agent_settings: NodeSettings | None = None
        """What its workers have asked for resources with; none where the file wants no agent."""
        self.resources: Held | None = None
        """What its workers load, where that is not in force yet."""
        self.plans: dict[str, Plan] = {}
        """What the `monitor` and the `shipper` do while it is in force."""
        self.waiting: list[Respond] = []
        """Whom to reply to when it serves or has failed."""

    def intends(self, digests: dict[str, str], descriptors: list[int]) -> None:
        """A worker says what processes beside it are to do; nothing for those that it does not name."""
        given = {name: Plan(digests[name], one) for name, one in zip(digests, descriptors, strict=True)}
        self.plans = {
            name: known if (known := self.plans.get(name)) and known.digest == plan.digest else plan
            for name, plan in given.items()
        }

    @property
    def addresses(self) -> list[str]:
        """All that is to be bound for it."""
        return [*self.listeners, *self.metrics]

    def all_at_least(self, state: WorkerState, count: int | None) -> bool:
        """Whether all `count` workers have come as far as `state`."""
        order = list(WorkerState)
        return len(self.workers) == count and all(
            order.index(worker.state) >= order.index(state) for worker in self.workers.values()
        )
