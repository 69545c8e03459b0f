"""The tunnel broker's process, from its start message to its end.

How it works: it reads its start message and the first plan from descriptor 3, makes its folder, gives up root, and
serves tunnels as the last plan says. It ends after the last worker. When the broker of a new supervisor has taken its
place, clients are asked to dial anew, and what is under way is finished.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import hashlib
import logging
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from headgate import _core, log
from headgate.config.atomic_files import make_folders
from headgate.control import broker_messages as messages
from headgate.control import memory
from headgate.control.channel import Channel, ChannelClosed
from headgate.control.signals import SUPERVISORS
from headgate.tunnel.broker import Broker
from headgate.tunnel.endpoint import Token
from headgate.worker.privileges import become, resolve

LOOK_S = 1.0
"""How often is seen whether another broker has taken the place of this one."""

logger = logging.getLogger("headgate.tunnel")


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
    claim(folder, start.file)
    if start.user or start.group:
        os.chown(folder, *resolve(start.user, start.group))
    become(start.user, start.group)
    asyncio.run(_serve(channel, start, plan, Counts(metrics)))
    sys.exit(0)


def claim(folder: Path, file: str) -> None:
    """Says that the sockets in the folder are those of a gateway's file, until the process ends; exits if they
    are those of another one. The brokers of an upgrade are of one file.
    """
    mark = hashlib.sha256(file.encode()).hexdigest()[:16]
    for path in folder.glob("*.owner"):
        with path.open("rb") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if path.stem != mark:
                    logger.error(
                        "another gateway has its tunnels in `%s`: give each gateway a HEADGATE_STATE_DIR",
                        folder,
                    )
                    sys.exit(1)
    held = os.open(folder / f"{mark}.owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(held, fcntl.LOCK_SH)


async def _serve(channel: Channel, start: messages.BrokerStart, plan: dict[str, Any], counts: Counts) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    process = TunnelProcess(channel, start, Broker(Path(plan["folder"]), counts), stopped)
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
    process.broker.close()
    await asyncio.sleep(0)


class Counts:
    """The metrics of tunnels."""

    def __init__(self, metrics: int) -> None:
        self._metrics = _core.Metrics(metrics)
        os.close(metrics)
        self._known: dict[tuple[str, ...], _core.Metric] = {}

    def tunnels(self, name: str, change: int) -> None:
        """See `Counters`."""
        self._series("gauge", "headgate_tunnels", "Open tunnels, by what they expose.", {"name": name}).add(
            change
        )

    def reversed(self, name: str, change: int) -> None:
        """See `Counters`."""
        what = "Connections beside tunnels, which requests go on without passing the broker."
        self._series("gauge", "headgate_tunnel_reversed_connections", what, {"name": name}).add(change)

    def stream(self, name: str, outcome: str) -> None:
        """See `Counters`."""
        what = "Connections into tunnels, by their outcome."
        labels = {"name": name, "outcome": outcome}
        self._series("counter", "headgate_tunnel_streams_total", what, labels).add(1.0)

    def _series(self, kind: str, family: str, what: str, labels: dict[str, str]) -> _core.Metric:
        key = (family, *labels.values())
        if key not in self._known:
            self._known[key] = self._metrics.series(
                kind, family, what, [*labels], [*labels.values()], most=4096
            )
        return self._known[key]


class TunnelProcess:
    """What the process does at each message."""

    def __init__(
        self, channel: Channel, start: messages.BrokerStart, broker: Broker, stopped: asyncio.Event
    ) -> None:
        self._channel, self._start, self._stopped = channel, start, stopped
        self.broker = broker

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
            (self.broker.end if message.is_last else self.broker.renew)()

    def serve(self, plan: dict[str, Any]) -> None:
        """Takes up a plan."""
        start, said = self._start, plan["log"]
        try:
            log.configure(start.log_format or said["format"], start.log_level or said["level"], said["to"])
        except OSError as error:
            logger.error("cannot open the error log: %s", error)
        tokens = [
            Token(bytes.fromhex(one["digest"]), one["name"], frozenset(one["expose"]), one["most"])
            for one in plan["tokens"]
        ]
        self.broker.configure(tokens, plan["wait"], plan["max_tunnels"], frozenset(plan["frames_only"]))

    def watch_place(self) -> None:
        """Has clients dial anew when a new supervisor's broker has taken over."""
        if self.broker.is_replaced:
            self.broker.renew()
        else:
            asyncio.get_running_loop().call_later(LOOK_S, self.watch_place)
