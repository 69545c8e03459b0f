"""A network between the members of an etcd cluster, in which one of them can be cut off from the others."""

import contextlib
import re
import socket
import threading
from collections.abc import Sequence

from .net import reset

_FROM = re.compile(rb"\r\nx-server-from: ([0-9a-f]+)\r\n", re.IGNORECASE)
"""The member that a request comes from, as etcd's own protocol says it."""


class Partition:
    """Passes bytes to each of some peer ports of 127.0.0.1; what a member that is cut off says or is told, is lost.

    Nobody is told of it: connections stay, and new ones are accepted, as in a network that drops packets.
    """

    def __init__(self, targets: Sequence[int]) -> None:
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in targets]
        self.ports: list[int] = [one.getsockname()[1] for one in self._listeners]
        self._isolated: tuple[int, str] | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        for number, (listener, target) in enumerate(zip(self._listeners, targets, strict=True)):
            threading.Thread(target=self._accept, args=(listener, number, target), daemon=True).start()

    def __enter__(self) -> "Partition":
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.mend()

    def isolate(self, number: int, member: str) -> None:
        """Cuts off the member with this position, and this id in hex."""
        self._isolated = number, member

    def mend(self) -> None:
        """Ends it; connections that have lost something are reset, as the systems on both sides would do in time."""
        self._isolated = None
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for one in pair:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                reset(one)

    def _accept(self, listener: socket.socket, number: int, target: int) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, number, target), daemon=True).start()

    def _serve(self, client: socket.socket, number: int, target: int) -> None:
        head = b""
        with contextlib.suppress(OSError):
            while b"\r\n\r\n" not in head and (data := client.recv(65536)):
                head += data
        found = _FROM.search(head)
        sender = found[1].decode() if found else ""
        try:
            server = socket.create_connection(("127.0.0.1", target), timeout=5)
        except OSError:
            return reset(client)
        server.settimeout(None)
        self._pairs.append((client, server))
        threading.Thread(target=self._pass, args=(server, client, b"", number, sender), daemon=True).start()
        self._pass(client, server, head, number, sender)

    def _pass(
        self, source: socket.socket, target: socket.socket, data: bytes, number: int, sender: str
    ) -> None:
        with contextlib.suppress(OSError):
            while data or (data := source.recv(65536)):
                cut_off = self._isolated
                if cut_off is None or (number != cut_off[0] and sender != cut_off[1]):
                    target.sendall(data)
                data = b""
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
