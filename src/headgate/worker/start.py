"""How every worker process begins and ends: the start message, root given up, the engine started, the exit code."""

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from headgate import _core, log
from headgate.config.errors import ConfigError
from headgate.control.channel import Channel, ChannelClosed
from headgate.control.messages import TO_WORKER, Failed, Start
from headgate.control.records import MessageError
from headgate.metrics import OF_PROCESS
from headgate.worker.loaded import Loaded
from headgate.worker.privileges import become

if TYPE_CHECKING:
    import asyncio

SWITCH_INTERVAL_S = 0.0001  # how long the loop waits for the lock when another thread computes

Serve = Callable[[Channel, Start, list[int]], None]
"""Serves until it is stopped, as the start message says; the descriptors came with it."""

logger = logging.getLogger("headgate.worker")


class StartFailed(Exception):
    """The worker cannot serve; the text is for the user, `kind` is `config` or `runtime`."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


def run(serve: Serve) -> NoReturn:
    """The whole life of the process; exit code 0 after a stop, 1 or 2 when it could not start."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    channel = Channel.inherited(TO_WORKER)
    try:
        message, descriptors = channel.receive()
    except ChannelClosed:
        sys.exit(0)  # started ahead of time for a command line that turned out to be wrong
    except MessageError as error:
        _fail(channel, StartFailed(str(error), "runtime"))
    if not isinstance(message, Start):
        _fail(channel, StartFailed(f"`{type(message).__name__}` came before `Start`", "runtime"))
    log.configure(message.log_format or "text", message.log_level or "info")
    try:
        OF_PROCESS.set(_core.Metrics(descriptors[0]))
        os.close(descriptors[0])
        become(message.user, message.group, keep_net_admin=message.keep_net_admin)
        serve(channel, message, descriptors)
    except StartFailed as error:
        _fail(channel, error)
    except ChannelClosed:
        sys.exit(1)
    sys.exit(0)


def _fail(channel: Channel, error: StartFailed) -> NoReturn:
    is_config = error.kind == "config"
    with contextlib.suppress(ChannelClosed):
        channel.send(Failed(error=str(error)[:16000], is_config=is_config))
    sys.exit(2 if is_config else 1)


def loaded(load: Callable[[], Loaded]) -> Loaded:
    """What `load` gives; raises StartFailed for whatever it raises."""
    try:
        return load()
    except (ConfigError, KeyboardInterrupt) as error:
        raise StartFailed(str(error) or "interrupted", "config") from error
    except Exception as error:
        logger.exception("cannot load the gateway")
        raise StartFailed(summary(error), "config") from error


def start_engine(
    loop: "asyncio.AbstractEventLoop | None",
    what: Loaded,
    start: Start,
    descriptors: list[int],
    released: Callable[[], None] | None = None,
) -> _core.Core:
    """The engine with the configuration in force, `released` when it is replaced and done; raises StartFailed."""
    try:
        log.configure(start.log_format or what.log_format, start.log_level or what.log_level, what.log_to)
    except OSError as error:
        raise StartFailed(f"cannot open the error log `{what.log_to}`: {error}", "config") from error
    core = _core.Core(loop)
    if start.zone_slot is not None:
        core.zone(descriptors[1], start.zone_slot)
        os.close(descriptors[1])
    if (metrics := OF_PROCESS.get()) is not None:
        core.use_metrics(metrics)
    core.use_ticket_keys([bytes.fromhex(key) for key in start.ticket_keys])
    if start.http3_secret:
        core.use_http3_secret(bytes.fromhex(start.http3_secret))
    try:
        if start.require_fips:
            _core.require_fips()
    except ValueError as error:
        raise StartFailed(str(error), "config") from error
    try:
        core.apply(what.snapshot, what.hooks, released=released)
    except ValueError as error:
        raise StartFailed(str(what.refused(str(error))), "config") from error
    return core


def summary(error: BaseException) -> str:
    """The last line that Python would print of it."""
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
