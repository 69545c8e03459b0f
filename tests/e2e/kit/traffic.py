"""Requests without a pause, beside what a test does: every one has to succeed."""

import threading
from collections.abc import Sequence

from .client import RawClient
from .gateway import RunningGateway


class Traffic:
    """A kept connection and one request a connection, for each gateway and path, until the block ends."""

    def __init__(self, gateways: Sequence[RunningGateway], path: str) -> None:
        self.path = path
        self.succeeded = 0
        self.failures: list[str] = []
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=ask, args=(gateway,), daemon=True)
            for gateway in gateways
            for ask in (self._kept, self._single)
        ]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _kept(self, gateway: RunningGateway) -> None:
        try:
            with RawClient(gateway.address, timeout=30) as client:
                while not self._ended.is_set():
                    self._count(client.get(self.path).status)
        except OSError as error:
            self.failures.append(f"kept connection: {error!r}")

    def _single(self, gateway: RunningGateway) -> None:
        while not self._ended.is_set():
            try:
                self._count(gateway.get(self.path).status)
            except OSError as error:
                self.failures.append(f"new connection: {error!r}")

    def _count(self, status: int) -> None:
        if status == 200:
            self.succeeded += 1
        else:
            self.failures.append(f"status {status}")
        self._ended.wait(0.02)
