"""A TCP proxy that a test can cut, or turn into a black hole, in either direction."""

import contextlib
import socket
import threading
import time

from .net import reset


class CuttableProxy:
    """Passes bytes between clients and `target`; `cut`, `swallow` and `mend` change what it does from then on."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.accepted = 0
        self.times: list[float] = []
        """When each connection came, in seconds of the monotonic clock."""
        self.is_cut = False
        self._swallowed_below = 0
        self._losing: bytes | None = None
        self._doomed: socket.socket | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "CuttableProxy":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Resets all connections, and every new one as soon as it comes."""
        self.is_cut = True
        self.drop()

    def drop(self) -> None:
        """Resets the connections that are there; new ones are served."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for one in pair:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                reset(one)

    def swallow(self) -> None:
        """Loses what the server says on the connections that are there, which seem alive; new ones are served."""
        self._swallowed_below = self.accepted + 1

    def lose_response_to(self, text: bytes) -> None:
        """Resets the connection of the next request with this in it, once the server has responded."""
        self._losing = text

    @property
    def has_lost(self) -> bool:
        """Whether that has happened."""
        return self._losing is None

    def mend(self) -> None:
        """Takes connections again."""
        self.is_cut = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.times.append(time.monotonic())
            if self.is_cut:
                reset(client)
                continue
            try:
                server = socket.create_connection(self.target, timeout=5)
            except OSError:
                reset(client)
                continue
            server.settimeout(None)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((client, server))
            threading.Thread(target=self._pass, args=(client, server, 0), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, self.accepted), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if number == 0 and self._losing and self._losing in data:
                    self._doomed = target
                elif source is self._doomed:
                    self._losing = self._doomed = None
                    reset(target)
                    break
                if number == 0 or number >= self._swallowed_below:
                    target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
