"""The dispatcher's process, from its start message to its end.

How it works: it reads its start message and the first plan from descriptor 3, makes its folder, gives up root, and has
a queue and a socket for each upstream of the last plan. It ends after the last worker of the gateway. When the
dispatcher of a new supervisor has taken its place, workers are asked to connect anew, and what waits is served first.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from headgate import _core, log
from headgate.config.atomic_files import make_folders
from headgate.control import broker_messages as messages
from headgate.control import memory
from headgate.control.broker_socket import BrokerSocket
from headgate.control.channel import Channel, ChannelClosed
from headgate.control.signals import SUPERVISORS
from headgate.dispatch.client_link import ClientLink
from headgate.dispatch.dispatcher import Dispatcher
from headgate.dispatch.figures import Figures
from headgate.dispatch.settings import Settings
from headgate.worker.privileges import become, resolve

LOOK_S = 1.0
"""How often is seen whether another dispatcher has taken the place of this one."""

logger = logging.getLogger("headgate.dispatch")


def main() -> NoReturn:
    """The whole life of the process."""
    channel = Channel.inherited(messages.TO_BROKER)
    try:
        start, (metrics,) = channel.receive()
        assert isinstance(start, messages.BrokerStart), "which always comes first"
        _, (descriptor,) = channel.receive()
    except ChannelClosed:
        sys.exit(0)
    plan = memory.read(descriptor)
    log.configure(start.log_format or "text", start.log_level or "info")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    folder = Path(plan["folder"])
    make_folders(folder, mode=0o700)
    if start.user or start.group:
        os.chown(folder, *resolve(start.user, start.group))
    become(start.user, start.group)
    counts = _core.Metrics(metrics)
    os.close(metrics)
    asyncio.run(_serve(channel, start, plan, counts))
    sys.exit(0)


async def _serve(
    channel: Channel, start: messages.BrokerStart, plan: dict[str, Any], metrics: _core.Metrics
) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    process = DispatcherProcess(channel, start, metrics, stopped)
    for number in (signal.SIGTERM, signal.SIGQUIT):
        loop.add_signal_handler(number, stopped.set)
    for number in SUPERVISORS:
        loop.add_signal_handler(number, lambda: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
    process.serve(plan)
    channel.socket.setblocking(False)
    loop.add_reader(channel.fileno(), process.on_readable)
    gc.freeze()
    process.watch_place()
    await stopped.wait()
    await process.close()


class Queue(NamedTuple):
    """The queue of an upstream, and the socket that leads to it."""

    dispatcher: Dispatcher
    socket: BrokerSocket


class DispatcherProcess:
    """What the process does at each message; `stopped` is set when the supervisor is gone."""

    def __init__(
        self,
        channel: Channel,
        start: messages.BrokerStart,
        metrics: _core.Metrics,
        stopped: asyncio.Event,
    ) -> None:
        self._channel, self._start, self._metrics, self._stopped = channel, start, metrics, stopped
        self._queues: dict[str, Queue] = {}
        """By the paths of their sockets."""
        self._dispatchers: list[Dispatcher] = []
        """Also of queues that are no more in the plan."""

    def on_readable(self) -> None:
        """Takes what the supervisor says."""
        try:
            message, descriptors = self._channel.receive()
        except BlockingIOError:
            return
        except (ChannelClosed, ValueError):
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._stopped.set()
            return
        if isinstance(message, messages.Serve):
            self.serve(memory.read(descriptors[0]))
        elif isinstance(message, messages.Renew):
            self._have_all_leave(is_ending=message.is_last)

    def serve(self, plan: dict[str, Any]) -> None:
        """Takes up a plan."""
        start, said = self._start, plan["log"]
        try:
            log.configure(start.log_format or said["format"], start.log_level or said["level"], said["to"])
        except OSError as error:
            logger.error("cannot open the error log: %s", error)
        before, self._queues = self._queues, {}
        for one in plan["queues"]:
            path, settings = one["socket"], Settings.of(one["settings"])
            queue = before.pop(path, None) or self._begun(path, settings)
            queue.dispatcher.take_up(settings)
            self._queues[path] = queue
        for queue in before.values():
            # what is under way goes on: it has what it needs
            queue.socket.close()
            queue.dispatcher.have_all_leave(is_ending=True)

    def watch_place(self) -> None:
        """Has workers connect anew when a new supervisor's dispatcher has taken over."""
        if any(queue.socket.is_replaced for queue in self._queues.values()):
            self._have_all_leave(is_ending=True)
        else:
            asyncio.get_running_loop().call_later(LOOK_S, self.watch_place)

    async def close(self) -> None:
        """Ends all connections."""
        for dispatcher, socket in self._queues.values():
            socket.close()
            dispatcher.close()
        await asyncio.gather(*(dispatcher.closed() for dispatcher in self._dispatchers))

    def scaler(self, upstream: str) -> Dispatcher | None:
        """The queue of that name, if autoscalers may ask for it."""
        queues = [queue.dispatcher for queue in self._queues.values()]
        return next(
            (one for one in queues if one.settings.is_scaler and one.settings.upstream == upstream), None
        )

    # ---- steps

    def _begun(self, path: str, settings: Settings) -> Queue:
        dispatcher = Dispatcher(settings, Figures(self._metrics, settings.upstream))
        self._dispatchers.append(dispatcher)
        where = Path(path)
        link = partial(ClientLink, dispatcher, self.scaler)
        return Queue(dispatcher, BrokerSocket(where.parent, where.stem, link))

    def _have_all_leave(self, *, is_ending: bool) -> None:
        for queue in self._queues.values():
            queue.dispatcher.have_all_leave(is_ending=is_ending)
