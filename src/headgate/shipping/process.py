"""The shipper process, from its start message to its end.

How it works: it reads its start message from descriptor 3, gives up root, and sends each line that workers write into
its socket to every target of the last `Ship`. Targets that another `Ship` leaves as they are go on with what they have.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from typing import Any, NoReturn

from headgate import _core, log
from headgate.control import memory
from headgate.control import shipper_messages as messages
from headgate.control.channel import Channel, ChannelClosed
from headgate.control.signals import SUPERVISORS
from headgate.shipping.counts import Counts
from headgate.shipping.delivery import Delivery
from headgate.shipping.intake import Intake
from headgate.shipping.senders import Sender, Unavailable, made_sender
from headgate.shipping.target import Target
from headgate.worker.privileges import become

FINISH_LIMIT_S = 2.0
"""For what is left when a target is removed, or the gateway ends."""

logger = logging.getLogger("headgate.shipping")


def main() -> NoReturn:
    """The whole life of the process."""
    channel = Channel.inherited(messages.TO_SHIPPER)
    try:
        start, descriptors = channel.receive()
        assert isinstance(start, messages.ShipperStart), "which always comes first"
    except ChannelClosed:
        sys.exit(0)
    log.configure(start.log_format or "text", start.log_level or "info")
    become(start.user, start.group)
    asyncio.run(_serve(channel, start, descriptors))
    sys.exit(0)


async def _serve(channel: Channel, start: messages.ShipperStart, descriptors: list[int]) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    shipper = Shipper(channel, start, descriptors, stopped)
    for number in (signal.SIGTERM, signal.SIGQUIT):
        loop.add_signal_handler(number, stopped.set)
    for number in SUPERVISORS:
        loop.add_signal_handler(number, lambda: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
    channel.socket.setblocking(False)
    loop.add_reader(channel.fileno(), shipper.on_readable)
    gc.freeze()
    await stopped.wait()
    await shipper.finish()


class Shipper:
    """What the process does at each message; `stopped` is set where nobody writes any more."""

    def __init__(
        self, channel: Channel, start: messages.ShipperStart, descriptors: list[int], stopped: asyncio.Event
    ) -> None:
        self._channel, self._start = channel, start
        reader, metrics = descriptors
        self._metrics = _core.Metrics(metrics)
        os.close(metrics)
        self._deliveries: list[Delivery] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._intake = Intake(socket.socket(fileno=reader), self._offer, self._lost, stopped.set)

    def on_readable(self) -> bool:
        """Takes what the supervisor says; false if that is nothing."""
        try:
            message, descriptors = self._channel.receive()
        except BlockingIOError:
            return False
        except (ChannelClosed, ValueError):
            # the workers that it has left behind end as well, and with the last of them the lines
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            return False
        if isinstance(message, messages.Ship):
            self._ship(memory.read(descriptors[0]))
        return True

    async def finish(self) -> None:
        """Takes what was said and written, and sends what there is, for a limited time."""
        while self.on_readable():
            pass
        self._intake.close()
        await asyncio.gather(*(one.finish(FINISH_LIMIT_S) for one in self._deliveries), *self._ending)

    # ---- steps

    def _ship(self, plan: dict[str, Any]) -> None:
        start, said = self._start, plan["log"]
        try:
            log.configure(start.log_format or said["format"], start.log_level or said["level"], said["to"])
        except OSError as error:
            logger.error("cannot open the error log: %s", error)
        before, self._deliveries = self._deliveries, []
        for target in map(Target.of, plan["targets"]):
            known = next((one for one in before if one.target == target), None)
            if known:
                before.remove(known)
            self._deliveries.append(known or self._delivery(target))
        for one in before:
            ending = asyncio.ensure_future(one.finish(FINISH_LIMIT_S))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        self._intake.begin()

    def _delivery(self, target: Target) -> Delivery:
        sender: Sender
        try:
            sender = made_sender(target)
        except (OSError, ValueError, ImportError) as error:
            sender = BrokenSender(str(error))
        return Delivery(target, sender, Counts(self._metrics, target.name))

    def _offer(self, line: bytes) -> None:
        for one in self._deliveries:
            one.offer(line)

    def _lost(self, lines: int) -> None:
        for one in self._deliveries:
            one.drop("unread", lines)


class BrokenSender:
    """In the place of one that cannot be made."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def send(self, lines: list[bytes]) -> int:
        """See `Sender`."""
        raise Unavailable(self._reason)

    def close(self) -> None:
        """See `Sender`."""
