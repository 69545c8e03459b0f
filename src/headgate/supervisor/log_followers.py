"""Who follows the access log over the control socket: each worker gets the follower's socket, and writes there itself.

How it works: the command line keeps one end of a pair of sockets and sends the other with its command. The supervisor
lends it to every worker that is there or comes, and forgets it when the command's line is closed. A worker notices that
nobody reads any more by its next write. The agent follows in the same way while a page shows the requests.
"""

import os
from collections.abc import Callable, Iterable

from headgate.control.commands import Following, FollowLogs, Refused
from headgate.control.endpoint import Line
from headgate.control.messages import FollowLog
from headgate.supervisor.workers import WorkerProcess, WorkerState

MOST = 16
"""Followers at once."""


class LogFollowers:
    """All that follow now; `workers` gives those that live."""

    def __init__(self, workers: Callable[[], Iterable[WorkerProcess]]) -> None:
        self._workers = workers
        self._lines: list[Line] = []
        self._of_agent: list[int] = []
        """The socket of the agent, if it follows."""

    def begin(self, _: FollowLogs, line: Line) -> None:
        """Has every worker write into the socket that came along."""
        if not line.descriptors:
            return line.close(Refused(error="no socket came with the command"))
        if len(self._lines) >= MOST:
            return line.close(Refused(error=f"{MOST} commands already follow the log"))
        self._lines.append(line)
        line.on_leave(lambda: self._lines.remove(line))
        return line.send(Following(workers=self._tell(line.descriptors)))

    def agent_follows(self, descriptors: list[int]) -> None:
        """Has every worker write into the agent's socket, which is closed here when the agent has left."""
        self.agent_left()
        self._of_agent = descriptors
        self._tell(descriptors)

    def agent_left(self) -> None:
        """The agent follows no more."""
        while self._of_agent:
            os.close(self._of_agent.pop())

    def joined(self, worker: WorkerProcess) -> None:
        """A worker has become ready."""
        for line in self._lines:
            worker.send(FollowLog(), line.descriptors)
        if self._of_agent:
            worker.send(FollowLog(), self._of_agent)

    def end_all(self) -> None:
        """The gateway stops: what is in flight still has its line."""
        for line in list(self._lines):
            line.hang_up()
        self.agent_left()

    def _tell(self, descriptors: list[int]) -> int:
        ready = (WorkerState.READY, WorkerState.DRAINING)
        return sum(
            worker.send(FollowLog(), descriptors) for worker in self._workers() if worker.state in ready
        )
