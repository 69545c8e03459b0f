"""The agent's side of its line to the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from headgate.agent.configuration import Difference
from headgate.compile.allocation import without_collecting
from headgate.control import agent_messages as messages
from headgate.control import memory
from headgate.control.channel import LONGEST_MESSAGE_BYTES, Channel, ChannelClosed
from headgate.control.commands import FollowLogs, GetMetrics, GetProfile, GetStatus, Look, Status
from headgate.control.records import Message
from headgate.control.resource_messages import SecretFiles
from headgate.stores import StoreUnavailable
from headgate.worker.loaded import Loaded
from headgate.worker.source import secret_files

REPLY_LIMIT_S = 120.0
LEAST_DIFFERENCES_BYTES = 1 << 20
"""So many bytes of differences are kept before the whole is sent again, however small that is."""

_ACCEPT = messages.Accept()


class ProposalRefused(Exception):
    """The workers cannot build a configuration, or not take it now; the text is what they say."""


class Taken(NamedTuple):
    """A profile in its plain form, or why there is none."""

    error: str | None
    profile: dict[str, Any]
    workers: int
    missing: int
    """Workers that did not respond in time."""


class Link:
    """Tells the supervisor what is proposed, and hears what becomes of it. One question is open at a time."""

    def __init__(self, channel: Channel, closed: Callable[[], None]) -> None:
        self._channel, self._closed = channel, closed
        self._replies: dict[type[Message], asyncio.Future[Message]] = {}
        self._status_lock, self._metrics_lock = asyncio.Lock(), asyncio.Lock()
        self._profile_lock = asyncio.Lock()
        self._profile: dict[str, Any] = {}
        self._metrics: bytes | bytearray = b""
        self._secret_files = SecretFiles(files=[])
        self._resources_bytes = self._differences_bytes = 0

    def begin(self) -> None:
        """From here on the channel does not block."""
        self._channel.socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._channel.fileno(), self._on_readable)

    def lend(self, resources: object) -> None:
        """Gives what workers load with the file."""
        self._send_memory(messages.Resources(), [memory.written("resources", resources)])

    def tell_secret_files(self) -> None:
        """Says which files secrets were read from, if these are others than before."""
        if (message := secret_files()) != self._secret_files:
            self._secret_files = message
            self._channel.send(message)

    def say(self, message: Message) -> None:
        """Sends a message without a reply."""
        self._channel.send(message)

    async def prepare(self, loaded: Loaded, label: str, resources: object) -> bool:
        """Has every worker make a configuration ready; gives whether only new workers can serve it.

        Raises `ProposalRefused`, or `StoreUnavailable` where it may be tried again. `accept` or `withdraw` follows.
        """
        with without_collecting():
            descriptors = [memory.holding("snapshot", loaded.told), memory.written("resources", resources)]
        self._resources_bytes = os.fstat(descriptors[1]).st_size
        self._differences_bytes = 0
        proposal = messages.Propose(
            change=loaded.change,
            label=label,
            listeners=loaded.listeners,
            modes=loaded.modes,
            places=loaded.places,
        )
        waiting = self._expect(messages.ProposalPrepared)
        self._send_memory(proposal, descriptors)
        return (await self._prepared(waiting)).needs_workers

    async def prepare_difference(self, label: str, difference: Difference) -> bool:
        """Has every worker make a difference ready; gives false where that cannot be done, and the whole is needed.

        Raises as `prepare` does.
        """
        proposal = messages.ProposeDifference(
            label=label,
            base=difference.base,
            told=difference.told,
            resources=json.dumps(difference.resources),
        )
        if len(proposal.encode()) > LONGEST_MESSAGE_BYTES:
            return False
        self._differences_bytes += len(proposal.resources) + 1
        if self._differences_bytes > max(self._resources_bytes, LEAST_DIFFERENCES_BYTES):
            return False  # the memory in which they are kept would grow without end
        waiting = self._expect(messages.ProposalPrepared)
        self._channel.send(proposal)
        return not (await self._prepared(waiting)).needs_whole

    async def _prepared(self, waiting: asyncio.Future[Message]) -> messages.ProposalPrepared:
        reply = await self._reply(waiting)
        assert isinstance(reply, messages.ProposalPrepared), "which was waited for"
        if reply.error is not None and reply.is_postponed:
            raise StoreUnavailable(reply.error)
        if reply.error is not None:
            raise ProposalRefused(reply.error)
        return reply

    def accept(self) -> Awaitable[int]:
        """Has it applied from now on; gives the generation when it is.

        Raises `ProposalRefused` where new workers could not serve it.
        """
        waiting = self._expect(messages.ProposalApplied)
        self._channel.send(_ACCEPT)
        return self._generation(waiting)

    async def _generation(self, waiting: asyncio.Future[Message]) -> int:
        reply = await self._reply(waiting)
        assert isinstance(reply, messages.ProposalApplied), "which was waited for"
        if reply.error is not None:
            raise ProposalRefused(reply.error)
        return reply.generation

    def withdraw(self) -> None:
        """Has it forgotten."""
        self._channel.send(messages.Withdraw())

    async def status(self) -> Status:
        """What runs."""
        async with self._status_lock:
            waiting = self._expect(Status)
            self._channel.send(GetStatus())
            reply = await self._reply(waiting)
        assert isinstance(reply, Status), "which was waited for"
        return reply

    async def metrics(self) -> tuple[str, float]:
        """All numbers that the gateway counts, as in `MetricsReply`, and the CPU seconds that they took."""
        async with self._metrics_lock:
            waiting = self._expect(messages.MetricsLent)
            self._channel.send(GetMetrics())
            reply = await self._reply(waiting)
            assert isinstance(reply, messages.MetricsLent), "which was waited for"
            text, self._metrics = self._metrics, b""
        return text.decode(), reply.took_s

    async def profile(self, seconds: float, interval_s: float) -> Taken:
        """A profile of the workers' Python code."""
        async with self._profile_lock:
            waiting = self._expect(messages.ProfileLent)
            self._channel.send(GetProfile(seconds=seconds, interval_s=interval_s))
            reply = await self._reply(waiting, REPLY_LIMIT_S + seconds)
            assert isinstance(reply, messages.ProfileLent), "which was waited for"
            taken, self._profile = self._profile, {}
        return Taken(reply.error, taken, reply.workers, reply.missing)

    def look(self, command: Look, end: socket.socket) -> None:
        """Has every worker look at a place in its code, and say what it sees into a socket."""
        self._channel.send(command, [end.fileno()])

    def follow_logs(self, end: socket.socket) -> None:
        """Has every worker write its requests into a socket."""
        self._channel.send(FollowLogs(), [end.fileno()])

    def unfollow_logs(self) -> None:
        """Has it forgotten."""
        with contextlib.suppress(ChannelClosed):
            self._channel.send(messages.UnfollowLogs())

    def _send_memory(self, message: Message, descriptors: list[int]) -> None:
        try:
            self._channel.send(message, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _expect(self, kind: type[Message]) -> asyncio.Future[Message]:
        self._replies[kind] = asyncio.get_running_loop().create_future()
        return self._replies[kind]

    async def _reply(self, waiting: asyncio.Future[Message], limit_s: float = REPLY_LIMIT_S) -> Message:
        timer = asyncio.get_running_loop().call_later(limit_s, _too_late, waiting)
        try:
            return await waiting
        finally:
            timer.cancel()

    def _on_readable(self) -> None:
        try:
            message, descriptors = self._channel.receive()
        except BlockingIOError:
            return
        except (ChannelClosed, ValueError):
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._closed()
            return
        if isinstance(message, messages.MetricsLent):
            self._metrics = memory.read_bytes(*descriptors)
        elif isinstance(message, messages.ProfileLent) and descriptors:
            self._profile = memory.read(*descriptors)
        waiting = self._replies.pop(type(message), None)
        if waiting and not waiting.done():
            waiting.set_result(message)


def _too_late(waiting: asyncio.Future[Message]) -> None:
    if not waiting.done():
        waiting.set_exception(ProposalRefused("the supervisor does not respond"))
