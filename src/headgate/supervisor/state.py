"""What the parts of the supervisor share: what runs now, and what it holds for the workers."""

import os
import time
from collections import deque
from collections.abc import Callable

from headgate.control import messages
from headgate.control.commands import LoopHold, NameStatus
from headgate.control.cpus import usable_cpus
from headgate.control.reactor import Reactor
from headgate.control.signals import Intent
from headgate.supervisor.dictionaries import Dictionaries
from headgate.supervisor.inspections import Inspections
from headgate.supervisor.listeners import Listeners
from headgate.supervisor.log_followers import LogFollowers
from headgate.supervisor.log_pipe import LogPipe
from headgate.supervisor.metrics import NodeMetrics
from headgate.supervisor.profiles import Profiles
from headgate.supervisor.resources import Held
from headgate.supervisor.settings import SHARED, RunSettings
from headgate.supervisor.ticket_keys import TicketKeys
from headgate.supervisor.upgrade import Predecessor
from headgate.supervisor.workers import Generation, WorkerProcess, WorkerState
from headgate.supervisor.zone import ZoneSlots
from headgate.supervisor.zygotes import Zygote

MOST_LOOP_HOLDS = 8
"""That are remembered: the log has them all."""
EXIT_OK, EXIT_FAILURE, EXIT_CONFIG = 0, 1, 2


class State:
    """Plain data; the parts change it, and none of them knows the others."""

    def __init__(self, settings: RunSettings, first: Zygote | None) -> None:
        self.settings = settings
        self.first = first
        """What workers are forked from, if it was started ahead of time."""
        self.reactor = Reactor()
        self.listeners = Listeners(settings.accept_mode)
        self.dictionaries = Dictionaries()
        self.workers: dict[int, WorkerProcess] = {}
        """All that live, of whatever generation, by process id."""
        self.current: Generation | None = None
        self.pending: Generation | None = None
        self.count = settings.workers
        """Workers in a generation; None until the first worker has read the configuration."""
        self.zone = ZoneSlots(self.count or usable_cpus())
        self.metrics = NodeMetrics(self.reactor, self.zone)
        self.stopping: Intent | None = None
        self.failure: str | None = None
        """Why the gateway could not start, for the user to read."""
        self.exit_code = EXIT_OK
        self.started = time.time()
        self.inspections = Inspections(self.reactor, lambda: list(self.workers.values()))
        self.log_followers = LogFollowers(lambda: list(self.workers.values()))
        self.profiles = Profiles(self.reactor, lambda: list(self.workers.values()))
        self.loop_holds: deque[LoopHold] = deque(maxlen=MOST_LOOP_HOLDS)
        """The newest first."""
        self.log_pipe = LogPipe()
        self.predecessor = Predecessor.from_environment()
        inherited = self.predecessor.ticket_keys if self.predecessor else None
        self.ticket_keys = TicketKeys(self.reactor, self._send_ticket_keys, inherited)
        self.admin_listeners = Listeners(SHARED)
        """The sockets of the Admin API, which agents accept from."""
        self.resources: Held | None = None
        """What the agent has loaded for the workers, as it is in force."""
        self.names: list[NameStatus] = []
        """Names that servers are found by, as the agent has said last."""
        self.agent: int | None = None
        """The process id of the agent that works."""
        self.monitor: int | None = None
        """The process id of the monitor that works."""
        self.shipper: int | None = None
        """The process id of the shipper that works."""
        self.brokers: dict[str, int] = {}
        """The process ids of the brokers that work, by their kinds."""
        self.agent_left: Callable[[], None] = lambda: None
        """Called when an agent, a monitor or a shipper has ended."""

    def tell_server_state(self, upstream: str, server: str, state: str, reason: str = "") -> None:
        """Has one worker run the hooks of servers' states: the first that serves, and is not blocked."""
        if self.current is None:
            return
        changed = messages.ServerStateChanged(upstream=upstream, server=server, state=state, reason=reason)
        for _, worker in sorted(self.current.workers.items()):
            if worker.state is WorkerState.READY and not worker.is_blocked and worker.send(changed):
                return

    def hold(self, resources: Held | None) -> None:
        """Takes other resources in the place of those that were in force."""
        if self.resources and self.resources is not resources:
            self.resources.close()
        self.resources = resources

    def open_admin(self, listen: str | None) -> tuple[list[str], list[int]]:
        """Addresses and descriptors of the Admin API's sockets; raises `BindError`."""
        wanted = [listen] if listen else []
        mask = os.umask(0o177)  # a socket file is its owner's alone, from the first moment on
        try:
            self.admin_listeners.open(wanted)
        finally:
            os.umask(mask)
        self.admin_listeners.keep_only(wanted)
        lent, descriptors = self.admin_listeners.lend(wanted, 0, 1)
        return [one.address for one in lent], descriptors

    def _send_ticket_keys(self, keys: list[str]) -> None:
        for worker in self.workers.values():
            worker.send(messages.TicketKeys(keys=keys))
