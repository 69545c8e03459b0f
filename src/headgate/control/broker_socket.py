"""The Unix sockets of brokers: at paths that workers know, and that the broker of a new supervisor takes over."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path


class BrokerSocket:
    """A Unix socket that this process listens on, put in the place of one that may be there."""

    def __init__(self, folder: Path, name: str, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._path, staged = folder / f"{name}.sock", folder / f"{name}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            staged.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.setblocking(False)
        listening.bind(str(staged))
        staged.chmod(0o600)
        listening.listen(4096)
        self._inode = staged.stat().st_ino
        staged.rename(self._path)
        self._listening = listening
        self._server: asyncio.Server | None = None
        self._starting = asyncio.ensure_future(self._serve(listening, protocol))

    async def _serve(self, listening: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(protocol, sock=listening)

    @property
    def is_replaced(self) -> bool:
        """Whether another process listens in its place."""
        try:
            return self._path.stat().st_ino != self._inode
        except OSError:
            return False

    def close(self) -> None:
        """Listens no more."""
        if not self.is_replaced:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
        if self._server:
            self._server.close()
        else:
            self._starting.cancel()
            self._listening.close()
