"""Serves the Admin API with the gateway's own engine: its parser, its limits and its TLS guard this port as well."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from headgate import _core
from headgate.admin.app import admin_app
from headgate.config.errors import ConfigError
from headgate.gateway import Gateway
from headgate.worker.loaded import Loaded, compiled

from .configuration import Base
from .following import Follower

if TYPE_CHECKING:
    from headgate.worker.loop import Loop

DRAIN_STEPS, DRAIN_STEP_S = 150, 0.02
MOST_BODY = "128m"
"""Of a whole configuration that is imported."""

logger = logging.getLogger("headgate.agent")


class Serving:
    """The Admin API on the sockets that the supervisor holds."""

    def __init__(self, base: Base, follower: Follower, addresses: list[str], descriptors: list[int]) -> None:
        admin = base.admin
        assert admin is not None, "only made where there is one"
        self._addresses, self._descriptors = addresses, descriptors
        gate = Gateway()
        gate._parts.folder = base.file.parent
        gate.listen(admin.listen, name="admin", tls=admin.tls)
        gate.limits(max_body_bytes=MOST_BODY)
        gate.request_id(None)
        gate.mount("/", admin_app(admin, follower), deadline="120s")
        self._loaded: Loaded = compiled(gate)
        self._core = _core.Core(asyncio.get_event_loop())

    async def begin(self) -> None:
        """Accepts."""
        try:
            self._core.apply(self._loaded.snapshot, self._loaded.hooks)
        except ValueError as error:
            raise ConfigError(f"the Admin API cannot be served: {error}") from error
        cast("Loop", asyncio.get_running_loop()).attach(self._core)
        for hook in self._loaded.startup:
            await hook.function()
        for address, descriptor in zip(self._addresses, self._descriptors, strict=True):
            self._core.listen(descriptor, self._loaded.listeners[0], address)
        logger.info("Admin API", extra={"listening": self._addresses})

    async def end(self) -> None:
        """Stops accepting, and ends the requests in flight."""
        self._core.drain()
        for _ in range(DRAIN_STEPS):
            if not self._core.connections():
                break
            await asyncio.sleep(DRAIN_STEP_S)
        self._core.close()
        for hook in self._loaded.shutdown:
            await hook.function()
