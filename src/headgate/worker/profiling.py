"""Profiles as a worker takes them: one at a time, sent back through the event loop when it is over."""

import asyncio
import os
import threading
from collections.abc import Sequence

from headgate._hook_checks import HookSpec
from headgate.control import inspection_messages, memory
from headgate.control.channel import Channel, ChannelClosed
from headgate.profiling.profile import Profile
from headgate.profiling.sampler import Sampler, owners
from headgate.worker.core_selector import CoreSelector


class Profiler:
    """Of the thread that makes it, which runs the loop, and of all others."""

    def __init__(self, loop: asyncio.AbstractEventLoop, channel: Channel) -> None:
        self._loop, self._channel = loop, channel
        self._thread = threading.get_ident()
        self._running: dict[int, Sampler] = {}

    def begin(self, message: inspection_messages.TakeProfile, hooks: Sequence[HookSpec]) -> None:
        """Samples for as long as the message says, then sends `ProfileTaken`."""
        number = message.id
        sampler = self._running[number] = Sampler(
            owners((one.phase, one.name, one.function) for one in hooks),
            self._thread,
            CoreSelector.select.__code__,
            seconds=message.seconds,
            interval_s=message.interval_s,
            done=lambda profile: self._later(number, profile),
        )
        sampler.begin()

    def end_all(self) -> None:
        """This worker stops: what was seen until now is sent."""
        for sampler in self._running.values():
            sampler.stop()

    def _later(self, number: int, profile: Profile) -> None:
        try:
            self._loop.call_soon_threadsafe(self._send, number, profile)
        except RuntimeError:
            pass  # the loop is closed: the process ends

    def _send(self, number: int, profile: Profile) -> None:
        del self._running[number]
        descriptor = memory.written("profile", profile.plain())
        try:
            self._channel.send(inspection_messages.ProfileTaken(id=number), [descriptor])
        except (ChannelClosed, BlockingIOError):
            pass  # nobody is there to be told
        finally:
            os.close(descriptor)
