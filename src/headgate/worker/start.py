"""How every worker process begins and ends: its orders, root given up, the engine started, the exit code."""

import logging
import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from headgate import _core, log
from headgate.config.errors import ConfigError
from headgate.control.channel import CHANNEL_DESCRIPTOR, Channel, ChannelClosed, Message
from headgate.worker.loaded import Loaded
from headgate.worker.privileges import become

if TYPE_CHECKING:
    import asyncio

SWITCH_INTERVAL_S = 0.0001  # how long the loop waits for the lock when another thread computes

Serve = Callable[[Channel, Message, list[int]], None]
"""Serves until it is told to stop, as the orders say; the descriptors came with them."""

logger = logging.getLogger("headgate.worker")


class StartFailed(Exception):
    """The worker cannot serve; the text is for the user, `kind` is `config` or `runtime`."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


def run(serve: Serve) -> NoReturn:
    """The whole life of the process; exit code 0 after a stop, 1 or 2 when it could not start."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    channel = Channel(socket.socket(fileno=CHANNEL_DESCRIPTOR))
    os.set_inheritable(CHANNEL_DESCRIPTOR, False)
    try:
        orders, descriptors = channel.receive()
    except ChannelClosed:
        sys.exit(0)  # started ahead of time for a command line that turned out to be wrong
    log.configure(orders["log_format"] or "text", orders["log_level"] or "info")
    try:
        become(orders["user"], orders["group"])
        serve(channel, orders, descriptors)
    except StartFailed as error:
        try:
            channel.send({"type": "failed", "error": str(error)[:16000], "kind": error.kind})
        except ChannelClosed:
            pass
        sys.exit(2 if error.kind == "config" else 1)
    except ChannelClosed:
        sys.exit(1)
    sys.exit(0)


def loaded(load: Callable[[], Loaded]) -> Loaded:
    """What `load` gives; raises StartFailed for whatever it raises."""
    try:
        return load()
    except ConfigError as error:
        raise StartFailed(str(error), "config") from error
    except Exception as error:
        logger.exception("cannot load the gateway")
        raise StartFailed(summary(error), "config") from error


def start_engine(
    loop: "asyncio.AbstractEventLoop | None", what: Loaded, orders: Message, descriptors: list[int]
) -> _core.Core:
    """The engine with the configuration in force; raises StartFailed."""
    log.configure(orders["log_format"] or what.log_format, orders["log_level"] or what.log_level)
    core = _core.Core(loop)
    if descriptors:
        core.zone(descriptors[0], orders["zone_slot"])
        os.close(descriptors[0])
    core.use_ticket_keys([bytes.fromhex(key) for key in orders["ticket_keys"]])
    try:
        if orders["require_fips"]:
            _core.require_fips()
        core.apply(what.snapshot, what.hooks)
    except ValueError as error:
        raise StartFailed(str(error), "config") from error
    return core


def summary(error: BaseException) -> str:
    """The last line that Python would print of it."""
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
