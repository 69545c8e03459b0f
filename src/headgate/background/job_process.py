"""One job process, as its worker sees it: one job at a time; killed when its result is no longer wanted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .job_wire import LENGTH, unpacked

JOB_MODULE = "headgate.worker.job"


class JobFailed(RuntimeError):
    """The process of a job died; the job may have done some of its work."""


@dataclass(frozen=True)
class UsersFile:
    """The file that was loaded, as it was then: its functions are found in the module of that name."""

    file: str
    text: str
    module: str


@dataclass
class Setting:
    """What a job process is told before its first job."""

    nice: int = 10
    users_file: UsersFile | None = None
    dictionaries: Mapping[str, int] = field(default_factory=dict)
    """Descriptors of shared dictionaries, by name."""

    def message(self) -> bytes:
        """The first message; the descriptors go beside it, in the order of the names."""
        return json.dumps(
            {
                "nice": self.nice,
                "path": sys.path,
                "users_file": self.users_file and asdict(self.users_file),
                "dictionaries": list(self.dictionaries),
                "parent": os.getpid(),
            }
        ).encode()


class JobProcess:
    """A child process that was started by exec, with a socket between."""

    def __init__(self, setting: Setting) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        import subprocess  # seldom needed, and not free to load

        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", JOB_MODULE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._pidfd = os.pidfd_open(self._process.pid)
        message = setting.message()
        socket.send_fds(
            self._socket, [LENGTH.pack(len(message)) + message], list(setting.dictionaries.values())
        )
        self._socket.setblocking(False)
        self.idle_since = 0.0
        self.is_dead = self._is_busy = False
        self.is_collected = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def do(self, frame: bytes, max_bytes: int) -> Any:
        """Does one job and gives its result, or raises what it raised; `JobFailed` if the process ends."""
        loop = asyncio.get_running_loop()
        self._is_busy = True
        try:
            await loop.sock_sendall(self._socket, frame)
            (length,) = LENGTH.unpack(await self._read(LENGTH.size))
            if length > max_bytes:
                raise ValueError(
                    f"the result has {length} bytes, over {max_bytes} (background.max_job_bytes)"
                )
            is_result, outcome, trace = unpacked(await self._read(length))
        except (ConnectionError, EOFError):
            self.kill()
            raise JobFailed(f"process {self.pid} ended during a job") from None
        except BaseException:
            self.kill()  # what it sends next would be the response to this job
            raise
        self._is_busy = False
        if is_result:
            return outcome
        outcome.__cause__ = _Remote(trace)
        raise outcome

    async def _read(self, length: int) -> bytearray:
        loop = asyncio.get_running_loop()
        data = bytearray(length)
        view = memoryview(data)
        while view:
            count = await loop.sock_recv_into(self._socket, view)
            if not count:
                raise EOFError
            view = view[count:]
        return data

    def kill(self) -> None:
        """Ends it at once."""
        self.is_dead = True
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except OSError:
            pass  # it has ended, or was reaped
        self._socket.close()

    def _ended(self) -> None:
        self.is_dead = True
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        if not self._is_busy:
            self._socket.close()  # a job notices by itself, and closes it
        self._process.wait()  # at once: the descriptor said that it has ended
        self.is_collected.set()


class _Remote(Exception):
    """The traceback of the job process, as a text."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"
