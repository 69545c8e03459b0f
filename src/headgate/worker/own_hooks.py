"""Hooks of a worker's own life, which no request runs: `startup`, `shutdown`, `server_state`. Each has its deadline."""

import asyncio
import logging
from typing import Any

from headgate._tasks import is_cancelled
from headgate.config.start_limit import StartTooLong
from headgate.control.messages import ServerStateChanged
from headgate.worker.loaded import Loaded
from headgate.worker.start import StartFailed, summary

SHUTDOWN_HOOKS_LIMIT_S = 3.0  # for each of them

logger = logging.getLogger("headgate.worker")


async def run_startup(loaded: Loaded) -> None:
    """Runs them in order; raises `StartFailed` with the first that fails."""
    for hook in loaded.startup:
        try:
            await call(hook)
        except Exception as error:
            logger.exception("startup hook failed", extra={"hook": hook.name})
            raise StartFailed(f"startup hook `{hook.name}` failed: {summary(error)}", "runtime") from error


async def run_shutdown(loaded: Loaded) -> None:
    """Runs all of them, also after one that has failed."""
    for hook in loaded.shutdown:
        try:
            async with asyncio.timeout(SHUTDOWN_HOOKS_LIMIT_S):
                await call(hook)
        except Exception:
            logger.exception("shutdown hook failed", extra={"hook": hook.name})


async def run_server_state(loaded: Loaded, message: ServerStateChanged) -> None:
    """Tells all of them that a server has another state."""
    from headgate.server_state import ServerStateChange

    change = ServerStateChange(**message.plain())
    for hook in loaded.server_state:
        try:
            await call(hook, change)
        except Exception:
            logger.exception("server_state hook failed", extra={"hook": hook.name})


async def call(hook: Any, *arguments: Any) -> None:
    """Calls one within its deadline; what would end the process is raised as a `RuntimeError`."""
    async with asyncio.timeout(hook.deadline_ms / 1000):
        try:
            result = hook.function(*arguments)
            if hook.is_async:
                await result
        except Exception:
            raise
        except BaseException as error:
            if is_cancelled(error):
                raise
            if isinstance(error, StartTooLong):
                raise TimeoutError(str(error)) from error
            # The loop runs in this very task, and must not end with it.
            raise RuntimeError(f"a hook raised {summary(error)}") from error
