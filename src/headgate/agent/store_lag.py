"""Tells metrics how far this node is behind its store, and whether the store is there."""

from __future__ import annotations

import asyncio

from headgate import _core
from headgate.agent.following import Follower

INTERVAL_S = 0.5
"""Between two looks at the connection to the store; a change that was applied is told at once."""


class StoreLag:
    """The gauges of one agent; `metrics` is the memory of this process.

    Of two agents, one of which takes over from the other, the larger number counts.
    """

    def __init__(self, metrics: _core.Metrics, follower: Follower) -> None:
        self._metrics, self._follower = metrics, follower
        self._up = self._gauge("store_up", "1 while the store responds, else 0.")
        self._newest = self._gauge("store_revision", "The newest revision of the store that the node knows.")
        self._applied = self._gauge(
            "config_applied_revision", "The revision of the store that all workers of the node serve."
        )

    async def run(self) -> None:
        """Keeps them right until it is cancelled."""
        self._follower.on_applied.append(self.tell)
        while True:
            self.tell()
            await asyncio.sleep(INTERVAL_S)

    def tell(self) -> None:
        """Notes how it is now."""
        follower = self._follower
        self._up.set(float(follower.store.health.is_connected))
        self._newest.set(float(follower.newest.revision.number))
        self._applied.set(float(follower.applied.number))

    def _gauge(self, name: str, help: str) -> _core.Metric:
        return self._metrics.series("gauge", f"headgate_{name}", help, [], [], merge="max")
