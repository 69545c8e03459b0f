"""The agent process, from its start message to its end.

How it works: it reads its start message from descriptor 3, makes the state folder, gives up root, loads the file, and
asks the store for its resources, or takes the last good ones where the store is away. It lends them to the workers
that wait for them. From then on it follows the store, serves the Admin API, and keeps looking for servers by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from headgate import _core, log
from headgate.agent.certificates import order_certificates
from headgate.agent.configuration import Base, Built
from headgate.agent.discovering import Discovering
from headgate.agent.following import Follower
from headgate.agent.link import Link
from headgate.agent.state import FolderTaken, NothingKept, StateFolder, lent, snapshot_of
from headgate.agent.store_lag import StoreLag
from headgate.config.discovered import Sets
from headgate.config.errors import ConfigError
from headgate.control import agent_messages as messages
from headgate.control import resource_memory
from headgate.control.channel import Channel, ChannelClosed
from headgate.control.signals import SUPERVISORS
from headgate.stores import Revision, Snapshot, Store, StoreError, open_store
from headgate.stores.nothing import NoStore
from headgate.worker.loop import Loop
from headgate.worker.privileges import become

if TYPE_CHECKING:
    from headgate.agent.serving import Serving

LOAD_LIMIT_S = 5.0
"""How long the store may take at the start, before the last good configuration serves."""
LOCK_STEP_S, LOCK_LIMIT_S, SUCCESSOR_LOCK_LIMIT_S = 0.1, 2.0, 120.0

logger = logging.getLogger("headgate.agent")


class CannotServe(Exception):
    """The agent cannot do its work; the text is for the user."""


def main() -> NoReturn:
    """The whole life of the process."""
    channel = Channel.inherited(messages.TO_AGENT)
    try:
        start, descriptors = channel.receive()
        assert isinstance(start, messages.AgentStart), "which always comes first"
    except ChannelClosed:
        sys.exit(0)
    log.configure(start.log_format or "text", start.log_level or "info")
    try:
        folder = StateFolder(start.settings.state_folder) if start.settings.has_state else None
        if folder:
            folder.make(start.user, start.group)
        if start.settings.acme_folder:
            StateFolder(start.settings.acme_folder).make(start.user, start.group)
        become(start.user, start.group)
        _serve(channel, start, descriptors, folder)
    except ChannelClosed:
        sys.exit(0)  # the supervisor has exited
    except (CannotServe, ConfigError, FolderTaken, OSError) as error:
        with contextlib.suppress(ChannelClosed):
            channel.send(
                messages.AgentFailed(error=f"{error}{_hint(error, start.settings.state_folder)}"[:16000])
            )
        sys.exit(1)
    sys.exit(0)


def _hint(error: Exception, state_folder: str) -> str:
    """What helps against an error of the state folder."""
    path = getattr(error, "filename", None)
    is_ours = isinstance(path, str) and Path(path).is_relative_to(state_folder)
    return "\n  hint: `state_folder` says where the gateway keeps its state" if is_ours else ""


def _serve(
    channel: Channel, start: messages.AgentStart, descriptors: list[int], folder: StateFolder | None
) -> None:
    loop = Loop()
    asyncio.set_event_loop(loop)
    agent = Agent(channel, start, descriptors, folder)
    for number in (signal.SIGTERM, signal.SIGQUIT):
        loop.add_signal_handler(number, agent.stop)
    for number in SUPERVISORS:
        loop.add_signal_handler(number, lambda: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    try:
        loop.run_until_complete(agent.run())
    finally:
        loop.detach()
        loop.close()


class Agent:
    """What one agent does."""

    def __init__(
        self, channel: Channel, start: messages.AgentStart, descriptors: list[int], folder: StateFolder | None
    ) -> None:
        self._start, self._descriptors, self._folder = start, descriptors[1:], folder
        self._metrics = _core.Metrics(descriptors[0])
        os.close(descriptors[0])
        self._stopped = asyncio.Event()
        self._link = Link(channel, self.stop)

    def stop(self) -> None:
        """Stops it after its current work."""
        self._stopped.set()

    async def run(self) -> None:
        """Works until it is stopped."""
        start = self._start
        if not start.waits_for_lock:
            await self._take_folder(LOCK_LIMIT_S)
        known, found = self._resources_in_force()
        base = Base(Path(start.file))
        discovering = Discovering(base, self._link, self._metrics)
        try:
            store = self._store()
        except (ValueError, ImportError) as error:
            raise CannotServe(str(error)) from error
        async with store:
            built = await self._first(base, store, known, found, discovering)
            self._link.begin()
            self._link.tell_secret_files()
            if start.waits_for_lock:
                await self._take_folder(SUCCESSOR_LOCK_LIMIT_S)
            follower = Follower(base, store, self._link, self._folder or NothingKept(), built)
            serving = self._serving(base, follower) if base.admin else None
            following = asyncio.ensure_future(follower.run())
            ordering = asyncio.ensure_future(order_certificates(follower, start.settings.acme_folder))
            finding = asyncio.ensure_future(discovering.run(follower))
            telling = asyncio.ensure_future(self._tell_lag(follower))
            try:
                if serving:
                    await serving.begin()
                self._link.say(messages.AgentReady())
                stopped = asyncio.ensure_future(self._stopped.wait())
                await asyncio.wait([stopped, following, finding], return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()
                for task in (following, finding):
                    if task.done():
                        task.result()
            finally:
                following.cancel()
                ordering.cancel()
                finding.cancel()
                telling.cancel()
                discovering.close()
                if serving:
                    await serving.end()
                await asyncio.wait([following, ordering, finding, telling])
                await follower.end()

    async def _tell_lag(self, follower: Follower) -> None:
        if self._folder:  # else there is no store
            await StoreLag(self._metrics, follower).run()

    def _serving(self, base: Base, follower: Follower) -> Serving:
        # which needs the packages of an extra, and half of this process's memory
        from headgate.agent.serving import Serving

        return Serving(base, follower, self._start.addresses, self._descriptors)

    def _store(self) -> Store:
        if self._folder is None:
            return NoStore()
        return open_store(self._start.settings.store or f"sqlite://{self._folder.path}/config.db")

    def _resources_in_force(self) -> tuple[Snapshot | None, Sets]:
        """What the workers have, if they have something; it came with the start message."""
        if not self._start.is_restarted:
            return None, {}
        told = resource_memory.read(self._descriptors.pop(), self._start.resources_bytes)
        return snapshot_of(told), told.get("found", {})

    async def _first(
        self, base: Base, store: Store, known: Snapshot | None, found: Sets, discovering: Discovering
    ) -> Built:
        """What the workers are to load first, or have loaded: of the store, else the last good one, else nothing."""
        if known is not None:
            base.found = found
            built = replace(base.build(known), label="")
            await discovering.begin(built.config, found, waits=False)
            return built
        candidates: list[Snapshot] = []
        try:
            async with asyncio.timeout(LOAD_LIMIT_S):
                candidates.append(await store.load())
        except (StoreError, TimeoutError) as error:
            reason = str(error) or f"it did not respond within {LOAD_LIMIT_S:g} s"
            logger.error("the store is unavailable; still serving the last good configuration: %s", reason)
        last_good = self._folder.last_good() if self._folder else None
        candidates.append(last_good or Snapshot(Revision("", 0)))
        first_error: ConfigError | None = None
        for candidate in candidates:
            try:
                built = base.build(candidate)
            except ConfigError as error:
                first_error = first_error or error
                logger.error("revision %d cannot be applied: %s", candidate.revision.number, error)
                continue
            await discovering.begin(built.config, {}, waits=True)
            self._link.lend(lent(candidate, base.found))
            return replace(built, label="")  # workers load it themselves
        assert first_error is not None, "one of them serves, or is refused"
        raise first_error

    async def _take_folder(self, limit_s: float) -> None:
        if self._folder is None:
            return
        deadline = asyncio.get_running_loop().time() + limit_s
        while True:
            try:
                return self._folder.take()
            except FolderTaken:
                if asyncio.get_running_loop().time() > deadline or self._stopped.is_set():
                    raise
            await asyncio.sleep(LOCK_STEP_S)
