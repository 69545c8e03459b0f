"""How long the start of a worker may take, and what ends code that does not return by then. Loads nothing heavy.

How it works: what takes too long mostly waits in a loop of its own (`while True`, a database that is retried for ever).
A timer of the system raises an exception in that very line, anew each second, until it gets through.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

ENVIRONMENT = "HEADGATE_START_LIMIT"
DEFAULT_S = 60.0
_SHARE = 0.8  # of the limit, after which the user's code is ended, so that its line is told


class StartTooLong(BaseException):
    """The code that runs has no time left; no `except Exception` stands in its way."""


def start_limit_s() -> float:
    """Seconds in which a worker must be ready; raises `ValueError` for a limit that is none."""
    text = os.environ.get(ENVIRONMENT, "")
    if not text:
        return DEFAULT_S
    with contextlib.suppress(ValueError):
        if 1 <= (limit := float(text)) <= 86400:
            return limit
    raise ValueError(f"{ENVIRONMENT} is `{text}`\n  hint: write seconds from 1 to 86400, such as `120`")


@contextlib.contextmanager
def ended_in_time() -> Iterator[None]:
    """Raises `StartTooLong` in the user's code that runs when the time of a start is nearly over.

    Does nothing in another thread than the main one, and where a timer of the system is going already.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return

    def end(_: int, frame: FrameType | None) -> None:
        if _is_in_users_code(frame):
            raise StartTooLong(f"not done after {limit:g} s")

    limit = start_limit_s() * _SHARE
    before = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, limit, 1.0)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _is_in_users_code(frame: FrameType | None) -> bool:
    """Whether a file of the user's is on the stack, below the script that began it all."""
    own, library = os.path.dirname(os.path.dirname(__file__)), os.path.dirname(os.__file__)
    while frame is not None and frame.f_back is not None:
        file = frame.f_code.co_filename
        if not file.startswith((own, library, "<")) and "site-packages" not in file:
            return True
        frame = frame.f_back
    return False
