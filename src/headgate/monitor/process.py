"""The monitor process, from its start message to its end.

How it works: it reads its start message from descriptor 3, gives up root, and checks what each `Watch` names. States
are written into the zone, which the supervisor holds: they outlive this process, and a new one goes on from them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
from typing import Any, NoReturn, cast

from headgate import _core, log
from headgate.control import memory
from headgate.control import monitor_messages as messages
from headgate.control.channel import Channel, ChannelClosed
from headgate.control.signals import SUPERVISORS
from headgate.monitor.checker import Probe
from headgate.monitor.judge import State
from headgate.monitor.monitor import Monitor
from headgate.monitor.probes import made_probe
from headgate.monitor.probes.broken import BrokenProbe
from headgate.monitor.target import Key, Target, targets
from headgate.worker.privileges import become

logger = logging.getLogger("headgate.monitor")


def main() -> NoReturn:
    """The whole life of the process."""
    channel = Channel.inherited(messages.TO_MONITOR)
    try:
        start, descriptors = channel.receive()
        assert isinstance(start, messages.MonitorStart), "which always comes first"
    except ChannelClosed:
        sys.exit(0)
    log.configure(start.log_format or "text", start.log_level or "info")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a kept connection for each server
    become(start.user, start.group)
    zone, metrics = descriptors
    with contextlib.suppress(ChannelClosed):  # the supervisor has exited
        asyncio.run(_serve(channel, start, ZoneBoard(zone, metrics)))
    sys.exit(0)


async def _serve(channel: Channel, start: messages.MonitorStart, board: ZoneBoard) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    process = MonitorProcess(channel, start, board, stopped)
    for number in (signal.SIGTERM, signal.SIGQUIT):
        loop.add_signal_handler(number, stopped.set)
    for number in SUPERVISORS:
        loop.add_signal_handler(number, lambda: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    channel.socket.setblocking(False)
    loop.add_reader(channel.fileno(), process.on_readable)
    gc.freeze()
    try:
        await stopped.wait()
    finally:
        process.monitor.close()


class ZoneBoard:
    """The zone of the gateway, and its metrics."""

    def __init__(self, zone: int, metrics: int) -> None:
        self._zone = zone
        self._metrics = _core.Metrics(metrics)
        os.close(metrics)
        self._counters: dict[tuple[Key, bool], _core.Metric] = {}

    def known(self) -> dict[Key, State]:
        """See `Board`."""
        told = _core.server_states(self._zone)
        return {(one["upstream"], one["server"]): cast(State, one["check"]) for one in told}

    def weights(self) -> dict[Key, int]:
        """See `Board`."""
        told = _core.server_states(self._zone)
        return {(one["upstream"], one["server"]): one["weight"] for one in told if one["weight"] != 100}

    def weighs(self, key: Key, percent: int) -> None:
        """See `Board`."""
        try:
            _core.set_server_state(self._zone, *key, weight=percent)
        except RuntimeError as error:
            logger.error("cannot say what `%s` of `%s` weighs: %s", key[1], key[0], error)

    def say(self, key: Key, state: State) -> None:
        """See `Board`."""
        try:
            _core.set_server_state(self._zone, *key, check=state)
        except RuntimeError as error:
            logger.error("cannot say how `%s` of `%s` is: %s", key[1], key[0], error)

    def count(self, key: Key, *, is_well: bool) -> None:
        """See `Board`."""
        counter = self._counters.get((key, is_well))
        if counter is None:
            counter = self._counters[key, is_well] = self._metrics.series(
                "counter",
                "headgate_health_checks_total",
                "Active health checks, by their outcome.",
                ["upstream", "server", "outcome"],
                [*key, "passed" if is_well else "failed"],
                most=16_384,
            )
        counter.add(1.0)


class MonitorProcess:
    """What the process does at each message."""

    def __init__(
        self,
        channel: Channel,
        start: messages.MonitorStart,
        board: ZoneBoard,
        stopped: asyncio.Event,
    ) -> None:
        self._channel, self._start, self._stopped = channel, start, stopped
        self._folder = ""
        self.monitor = Monitor(board, self._probe, self._changed)

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
        if isinstance(message, messages.Watch):
            self._watch(memory.read(descriptors[0]))

    def _watch(self, plan: dict[str, Any]) -> None:
        start, said = self._start, plan["log"]
        try:
            log.configure(start.log_format or said["format"], start.log_level or said["level"], said["to"])
        except OSError as error:
            logger.error("cannot open the error log: %s", error)
        self._folder = plan["folder"]
        self.monitor.watch(targets(plan))

    def _probe(self, target: Target) -> Probe:
        try:
            return made_probe(target, self._folder)
        except (OSError, ValueError, ImportError) as error:
            return BrokenProbe(f"the check cannot be made: {error}")

    def _changed(self, target: Target, state: State, failure: str) -> None:
        message = messages.ServerChanged(
            upstream=target.upstream, server=target.server, state=state, reason=failure[:1000]
        )
        with contextlib.suppress(ChannelClosed, BlockingIOError):
            self._channel.send(message)
