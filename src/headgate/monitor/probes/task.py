"""Checks that are a coroutine each: a connection of its own, and a task."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Awaitable, Callable

from headgate.monitor.checker import Done, NoResult
from headgate.monitor.probes.connecting import CheckFailed
from headgate.monitor.target import Target

OWN_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL)
"""Errors of this process or machine, which say nothing of a server."""

Check = Callable[[Target], Awaitable[int | None]] | Callable[[Target], Awaitable[None]]
"""Checks a target once; raises what is wrong with it. Gives the weight that it wants, if it says one."""


class TaskProbe:
    """Runs a coroutine for each check of one server."""

    def __init__(self, target: Target, check: Check) -> None:
        self._target, self._check = target, check
        self._task: asyncio.Task[None] | None = None

    def begin(self, done: Done) -> None:
        """See `Probe`."""
        self._task = asyncio.get_running_loop().create_task(self._run(done))

    async def _run(self, done: Done) -> None:
        try:
            weight = await self._check(self._target)
        except asyncio.CancelledError:
            raise
        except (
            BaseException
        ) as error:  # also what would end the process: a function of the user's may raise it
            done(reason(error))
        else:
            done(None, weight)

    def cancel(self) -> None:
        """See `Probe`."""
        if self._task:
            self._task.cancel()
            self._task = None

    def close(self) -> None:
        """See `Probe`; nothing is kept."""


def reason(error: BaseException) -> str:
    """What an error says, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"the TLS handshake failed: {error.reason or error}"
    if isinstance(error, asyncio.IncompleteReadError):
        return "closed before its response was complete"
    if isinstance(error, CheckFailed):
        return str(error)
    if isinstance(error, OSError) and error.errno in OWN_ERRORS:
        return NoResult(error.strerror or str(error))
    if isinstance(error, OSError):
        return f"cannot connect: {error.strerror or error}"
    return f"{type(error).__name__}: {error}"
