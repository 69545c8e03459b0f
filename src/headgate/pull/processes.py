"""Several processes that do the same: forked, replaced when they exit, and ended together."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

log = logging.getLogger("headgate.pull")

REFUSED = 77
"""The exit code (EX_NOPERM) of a process that another one would not do better than."""
LONGEST_DELAY_S = 10.0
STABLE_S = 10.0
"""A process that has lived so long has not failed to start."""


def run_processes(count: int, run: Callable[[], None]) -> None:
    """Runs `run` in so many processes until SIGTERM or SIGINT; raises `PermissionError` if one has ended with it."""
    started: dict[int, float] = {}
    is_stopping, delay_s = False, 0.0

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_stopping
        is_stopping = True
        for pid in started:
            os.kill(pid, signal.SIGTERM)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while started or not is_stopping:
            while not is_stopping and len(started) < count:
                signal.pthread_sigmask(signal.SIG_BLOCK, before)
                started[_forked(run, set(before))] = time.monotonic()
                signal.pthread_sigmask(signal.SIG_UNBLOCK, before)
            pid, status = os.wait()
            lived_s = time.monotonic() - started.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            if code == REFUSED and not is_stopping:
                stop(0, None)
                _collect(started)
                raise PermissionError("the gateway does not accept the token")
            if not is_stopping:
                log.error("process %d has exited with %d", pid, code)
                delay_s = 0.0 if lived_s >= STABLE_S else min(max(2 * delay_s, 0.1), LONGEST_DELAY_S)
                time.sleep(delay_s)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _collect(started: dict[int, float]) -> None:
    while started:
        pid, _ = os.wait()
        started.pop(pid, None)


def _forked(run: Callable[[], None], blocked: set[signal.Signals]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for number in blocked:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        run()
        code = 0
    except PermissionError as error:
        log.error("%s", error)
        code = REFUSED
    except KeyboardInterrupt:
        code = 0
    except BaseException:
        log.exception("the worker has failed")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
