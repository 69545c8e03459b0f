"""A TCP proxy that a test can cut, or turn into a black hole, in either direction."""

import contextlib
import socket
import threading

from .net import reset


class CuttableProxy:
    """Passes bytes between clients and `target`; `cut`, `swallow` and `mend` change what it does from then on."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.accepted = 0
        self.is_cut = False
        self._flows = threading.Event()
        self._flows.set()
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
        self._flows.set()

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
        """Loses the server's bytes from now on, and lets every connection seem alive."""
        self._flows.clear()

    def mend(self) -> None:
        """Passes bytes and connections again; what was swallowed is gone, and so are the connections it was on."""
        self.is_cut = False
        if not self._flows.is_set():
            self.drop()
        self._flows.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
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
            threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, is_response: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not is_response or self._flows.is_set():
                    target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
