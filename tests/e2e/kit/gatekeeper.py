"""An origin that keeps requests until it is told to respond."""

import threading

from .origin import Call


class Gatekeeper:
    """An origin's behaviour that responds only when told to, and knows how many it holds."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.most = 0
        self.served = 0
        self._lock = threading.Lock()
        self._tickets = threading.Semaphore(0)

    def __call__(self, call: Call) -> None:
        with self._lock:
            self.held.append(call.target)
            self.most = max(self.most, len(self.held))
        self._tickets.acquire(timeout=20)
        with self._lock:
            self.held.remove(call.target)
            self.served += 1
        call.respond(body=call.target.encode())

    def let(self, count: int) -> None:
        """Responds to so many, now or when they come."""
        self._tickets.release(count)
