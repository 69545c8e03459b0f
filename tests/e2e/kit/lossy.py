"""A network between clients and a UDP port that loses datagrams and brings them out of order."""

import random
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .net import split_address

HELD_BACK = 5


class Lossy:
    """What a relay does, and has done; `address` is where clients send to."""

    def __init__(self, to: str, *, loss: float, reorder: float, seed: int) -> None:
        _, self.target = split_address(to)
        self.loss, self.reorder = loss, reorder
        self.chance = random.Random(seed)
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.front.getsockname()[1]}"
        self.lost = self.reordered = self.passed = 0
        self._behind: dict[object, socket.socket] = {}
        self._clients: dict[socket.socket, object] = {}
        self._held: list[tuple[int, socket.socket, bytes, object]] = []
        self._is_over = False

    def run(self) -> None:
        """Relays until it is stopped."""
        while not self._is_over:
            ready, _, _ = select.select([self.front, *self._clients], [], [], 0.02)
            if not ready:
                self._release(all_of_them=True)
            for one in ready:
                data, sender = one.recvfrom(65535)
                if one is self.front:
                    self._pass(self._to_server(sender), data, self.target)
                else:
                    self._pass(self.front, data, self._clients[one])

    def stop(self) -> None:
        """Ends it."""
        self._is_over = True

    def _to_server(self, client: object) -> socket.socket:
        if client not in self._behind:
            own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._behind[client] = own
            self._clients[own] = client
        return self._behind[client]

    def _pass(self, by: socket.socket, data: bytes, to: object) -> None:
        draw = self.chance.random()
        if draw < self.loss:
            self.lost += 1
        elif draw < self.loss + self.reorder:
            self.reordered += 1
            self._held.append((self.passed + HELD_BACK, by, data, to))
        else:
            self._send(by, data, to)
        self._release()

    def _release(self, *, all_of_them: bool = False) -> None:
        for held in [one for one in self._held if all_of_them or one[0] <= self.passed]:
            self._held.remove(held)
            self._send(*held[1:])

    def _send(self, by: socket.socket, data: bytes, to: object) -> None:
        self.passed += 1
        try:
            by.sendto(data, to)  # type: ignore[call-overload]
        except OSError:
            self.lost += 1  # nobody is there any more

    def close(self) -> None:
        """Gives its sockets back."""
        for one in (self.front, *self._clients):
            one.close()


@contextmanager
def lossy(to: str, *, loss: float = 0.01, reorder: float = 0.02, seed: int = 7) -> Iterator[Lossy]:
    """A relay to that address."""
    relay = Lossy(to, loss=loss, reorder=reorder, seed=seed)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield relay
    finally:
        relay.stop()
        thread.join()
        relay.close()
