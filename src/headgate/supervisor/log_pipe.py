"""The socket that workers write each request into, and that the shipper reads.

How it works: the supervisor holds both ends while the configuration has log targets. A shipper that is replaced goes on
reading where the one before ended, and what there is no room for in the meantime the workers drop and count.
"""

import socket

from headgate.control.messages import FollowLog
from headgate.supervisor.workers import WorkerProcess

WANTED_BYTES = 8 << 20
"""Of lines that nobody has read yet; the system may grant less."""
_SO_SNDBUFFORCE = 32  # of Linux, for privileged processes; the module has no name for it


class LogPipe:
    """Open between the first time that a worker gets its end and `close`."""

    def __init__(self) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self._number = 0

    def reader(self) -> int:
        """The descriptor of the shipper's end, which stays ours."""
        return self._open()[0].fileno()

    def lend(self, worker: WorkerProcess) -> None:
        """Has a worker write into it, once."""
        _, writer = self._open()
        if worker.log_pipe != self._number and worker.send(FollowLog(), [writer.fileno()]):
            worker.log_pipe = self._number

    def close(self) -> None:
        """Workers notice with their next line, and write no more."""
        if self._ends:
            for end in self._ends:
                end.close()
            self._ends = None

    def _open(self) -> tuple[socket.socket, socket.socket]:
        if self._ends is None:
            self._number += 1
            reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                writer.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, WANTED_BYTES)
            except PermissionError:
                writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WANTED_BYTES)
            self._ends = (reader, writer)
        return self._ends
