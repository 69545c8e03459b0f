"""The process of an isolated plugin as its worker sees it: started, asked, watched, killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import weakref
from typing import Any, NamedTuple

CHILD = "headgate.isolation.child"
LENGTH = struct.Struct("!I")
STARTED_WITHIN = 30
"""How long a process may take to load the plugin, in seconds."""

SPINNING = 0.5
"""The CPU seconds beside its calls, from one look to the next, after which a process is killed."""


class Ended(Exception):
    """The process has ended, or has sent what is not valid; the text says which."""


class Setting(NamedTuple):
    """What a process is told before anything of the plugin runs."""

    plugin: str
    config: dict[str, Any]
    name: str
    modules: list[str]
    memory: int
    digest: str = ""
    """That of the only source that may run; empty: any."""


class Link:
    """One process, with a socket between; it ends with this object."""

    def __init__(self, setting: Setting, max_bytes: int) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        path = [os.path.abspath(one) for one in sys.path if one]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", CHILD, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PYTHONPATH": os.pathsep.join(path)},  # and none of the gateway's secrets
                cwd="/",
            )
        self._max_bytes = max_bytes
        self.is_alive = True
        self._end = weakref.finalize(self, _end, self._process, self._line)
        self._line.settimeout(STARTED_WITHIN)
        message = json.dumps({**setting._asdict(), "path": path}).encode()
        self._line.sendall(LENGTH.pack(len(message)) + message)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def hello(self) -> dict[str, Any]:
        """What it says of the plugin, waited for; raises `Ended`."""
        end = time.monotonic() + STARTED_WITHIN
        try:
            length = self._bounded(self._received(LENGTH.size, end))
            return self._read_json(self._received(length, end))
        except OSError:
            raise Ended("it does not start") from None
        finally:
            self._line.setblocking(False)

    def _received(self, length: int, end: float) -> bytes:
        """So many bytes, or fewer if it ends; raises `TimeoutError` after `end`, however they come."""
        data = bytearray()
        while len(data) < length:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._line.settimeout(left)
            piece = self._line.recv(length - len(data))
            if not piece:
                break
            data += piece
        return bytes(data)

    async def begun(self) -> dict[str, Any]:
        """As `hello`, on the event loop."""
        self._line.setblocking(False)
        try:
            async with asyncio.timeout(STARTED_WITHIN):
                return await self._result()
        except TimeoutError:
            raise Ended("it does not start") from None

    async def call(self, message: bytes) -> dict[str, Any]:
        """Runs one hook; raises `Ended`. Where it is cancelled, the process is of no use any more."""
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self._line, LENGTH.pack(len(message)) + message)
        except OSError:
            raise Ended("its process ended") from None
        return await self._result()

    def kill(self) -> None:
        """Ends it at once."""
        self.is_alive = False
        self._end()

    def is_spinning(self, cpu_before: float, asked_seconds: float) -> bool:
        """Whether it has computed since then for longer than it was asked to."""
        return self.cpu() - cpu_before > asked_seconds + SPINNING

    def cpu(self) -> float:
        """The CPU seconds it has used, 0 once it has ended; see clock_getcpuclockid(3)."""
        try:
            return time.clock_gettime((~self._process.pid << 3) | 2)
        except OSError:
            return 0.0

    async def _result(self) -> dict[str, Any]:
        length = self._bounded(await self._read(LENGTH.size))
        return self._read_json(await self._read(length))

    def _bounded(self, head: bytes | bytearray) -> int:
        if len(head) < LENGTH.size:
            raise Ended("its process ended")
        length = int(LENGTH.unpack(head)[0])
        if length > self._max_bytes:
            raise Ended(f"its result has {length} bytes, over {self._max_bytes}")
        return length

    def _read_json(self, data: bytes | bytearray) -> dict[str, Any]:
        try:
            found = json.loads(bytes(data))
        except (ValueError, RecursionError):
            raise Ended("its result is not valid") from None
        if not isinstance(found, dict):
            raise Ended("its result is not valid")
        return found

    async def _read(self, length: int) -> bytearray:
        loop = asyncio.get_running_loop()
        data = bytearray(length)
        view = memoryview(data)
        while view:
            try:
                count = await loop.sock_recv_into(self._line, view)
            except OSError:
                count = 0
            if not count:
                raise Ended("its process ended")
            view = view[count:]
        return data


def _end(process: subprocess.Popen[bytes], line: socket.socket) -> None:
    try:
        process.send_signal(signal.SIGKILL)
    except OSError:
        pass  # it has ended
    line.close()
    process.wait()  # at once: nothing outlives SIGKILL
