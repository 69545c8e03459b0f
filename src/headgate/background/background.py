"""All that one worker does beside requests, from its start to its end.

| when                                     | what                                                         |
|------------------------------------------|--------------------------------------------------------------|
| the file is loaded                       | timers, services and dictionaries are made                   |
| `open`, before the `startup` hooks       | services connect                                             |
| `begin`, when the worker accepts         | timers begin                                                 |
| `stop`, when it is told to stop          | the lead is given up, no timer runs any more                 |
| while connections drain                  | tasks that run may end by themselves, at most as long        |
| `end`, after the last connection         | tasks are cancelled, job processes ended                     |
| `close`, after the `shutdown` hooks      | services close                                               |
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from headgate.consumers import Consumers
from headgate.metrics import memory_of_process
from headgate.target_secrets import TargetSecrets

from .job_process import Setting, UsersFile
from .jobs import Jobs
from .node import Node
from .services import CLOSE_LIMIT_S, Service, open_service
from .tasks import Count, Tasks
from .threads import Threads
from .timers import Timers

if TYPE_CHECKING:
    from headgate.config.background import BackgroundConfig
    from headgate.shared import Shared

logger = logging.getLogger("headgate.background")


class Background:
    """The parts, and the order in which they begin and end."""

    def __init__(self) -> None:
        self.count: Count = lambda name: None
        """Set by the worker; counts nothing elsewhere."""

        def count(name: str) -> None:
            self.count(name)

        self.metrics = memory_of_process()
        """Where the user's metrics are counted."""
        self.consumers = Consumers()
        """Those of the configuration in force."""
        self.secrets = TargetSecrets()
        """What is masked of targets."""
        self.node = Node()
        self.dictionaries: dict[str, Shared] = {}
        self.services: list[Service] = []
        self.tasks = Tasks(count)
        self.timers = Timers(self.node, count)
        self.threads = Threads(count)
        self.jobs = Jobs(self.node, count)
        self._opened: list[Service] = []
        self._nice = 10

    def configure(self, config: BackgroundConfig, processes: int) -> None:
        """Takes the bounds; `processes` is how many jobs run at a time where the configuration leaves it open."""
        self.tasks.limit = config.max_tasks
        self.threads.threads = config.threads
        self.threads.max_waiting = config.max_waiting_threads
        self.jobs.processes = config.processes or processes
        self.jobs.max_waiting = config.max_waiting_jobs
        self.jobs.timeout = config.job_timeout
        self.jobs.max_bytes = config.max_job_bytes
        self._nice = config.job_nice

    def names(self, users_file: UsersFile) -> None:
        """Says where a job process finds functions of the user's file."""

        def setting() -> Setting:
            known = {name: one._fileno() for name, one in self.dictionaries.items()}
            return Setting(self._nice, users_file, known)

        self.jobs.setting = setting

    async def open(self) -> None:
        """Opens the services, in the order they were named; raises `Unreachable`."""
        for service in self.services:
            await open_service(service)
            self._opened.append(service)

    def begin(self) -> None:
        """The worker accepts."""
        self.node.join()
        self.timers.begin()

    def stop(self) -> None:
        """The worker begins to stop: another one may lead."""
        self.node.resign()
        self.timers.stop()

    @property
    def is_busy(self) -> bool:
        """Whether anything is still running that may end on its own."""
        return bool(self.tasks.count or self.timers.count)

    async def end(self) -> None:
        """Ends what still runs."""
        self.stop()
        self.threads.close()
        await asyncio.gather(self.tasks.end(), self.timers.end())
        await self.jobs.end()

    async def close(self) -> None:
        """Closes the services, the last one first."""
        while self._opened:
            service = self._opened.pop()
            try:
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    await service.close()
            except Exception:
                logger.exception("cannot close %s", service.shown)
