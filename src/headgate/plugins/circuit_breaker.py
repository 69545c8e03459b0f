"""Spares servers that fail: requests are refused for a while, then one tries whether it is over."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response, ResponseView


class CircuitBreaker(Plugin):
    """Refuses requests with 503 after too many failures of the servers behind it, over all workers of the node.

    Closed: responses are counted, and once at least `requests` came in `window` seconds and `failure_percent` of them
    failed, it opens. Open: requests get a 503 with `Retry-After` for `open_for` seconds. Half-open: one request goes
    on; if it succeeds all do, if it fails it is open again, for twice as long, up to `longest`.
    Only what went to a server counts: a status of `statuses`, or none at all. It is one circuit for each upstream.
    For whole upstreams, use `circuit_breaker` of the upstream, which needs no Python; this one is for single routes.
    """

    order = 440

    class Config(BaseModel):
        """Settings of `circuit-breaker`."""

        model_config = ConfigDict(extra="forbid")

        requests: int = Field(default=20, ge=1, description="Fewer requests in a window never open it.")
        failure_percent: float = Field(
            default=50, gt=0, le=100, description="The part of failures that opens it."
        )
        window: float = Field(default=10, gt=0, description="The seconds in which requests are counted.")
        open_for: float = Field(default=5, gt=0, description="The seconds for which it is open at first.")
        longest: float = Field(default=60, gt=0, description="The most seconds for which it is open.")
        statuses: list[int] = Field(
            default=[500, 502, 503, 504], description="The statuses of responses that are failures."
        )
        status: int = Field(default=503, ge=400, le=599, description="The status of a refusal.")

    def setup(self, context: PluginContext) -> None:
        """Makes the table."""
        self._key = f"{context.name} circuit"
        self._table = context.shared("circuits", "256k")
        self._refused = context.counter("refused")
        self._log = context.log
        self._statuses = frozenset(self.config.statuses)
        self._clock: Callable[[], float] = time.monotonic

    def request(self, request: Request) -> Response | None:
        """Lets on, tries, or refuses."""
        name = request.upstream or request.route_name
        is_trial = False
        until = self._table.get(f"open {name}")
        if until is not None:
            wait = until - self._clock()
            # whoever enters this name tries; his time is bounded, should he die
            if wait > 0 or not self._table.add(f"trying {name}", 1, max(self.config.open_for, 1)):
                self._refused.add()
                seconds = str(max(1, math.ceil(wait)))
                return Response(
                    self.config.status, "the service is away\n", headers=[("retry-after", seconds)]
                )
            is_trial = True
        vars(request.state)[self._key] = (name, is_trial)
        return None

    def log(self, request: Request, response: ResponseView | None) -> None:
        """Counts what became of it."""
        entered = getattr(request.state, self._key, None)
        if entered is None:
            return
        name, is_trial = entered
        if request.attempt == 0:  # nothing was learnt
            if is_trial:
                self._table.delete(f"trying {name}")
            return
        status = response.status if response is not None else 502
        is_failure = status in self._statuses
        if is_trial:
            self._after_trial(name, is_failure)
        else:
            self._count(name, is_failure)

    def _after_trial(self, name: str, is_failure: bool) -> None:
        if is_failure:
            self._open(name)
        else:
            self._log.warning("the circuit is closed", extra={"circuit": name})
            for key in ("open", "lasts", "all", "failed"):
                self._table.delete(f"{key} {name}")
        self._table.delete(f"trying {name}")

    def _count(self, name: str, is_failure: bool) -> None:
        window = self.config.window
        every = self._table.incr(f"all {name}", 1, 0, window)
        failed = (
            self._table.incr(f"failed {name}", 1, 0, window)
            if is_failure
            else self._table.get(f"failed {name}", 0)
        )
        if (
            is_failure
            and every >= self.config.requests
            and failed * 100 >= self.config.failure_percent * every
            and self._table.get(f"open {name}") is None
        ):
            self._open(name)

    def _open(self, name: str) -> None:
        lasts = min(self._table.get(f"lasts {name}", self.config.open_for / 2) * 2, self.config.longest)
        self._table.set(f"lasts {name}", lasts)
        self._table.set(f"open {name}", self._clock() + lasts)
        self._log.warning("the circuit is open", extra={"circuit": name, "seconds": lasts})
