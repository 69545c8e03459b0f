"""While a file is loaded, `os._exit` ends the load with an error, not the process, which could tell nothing more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class HardExit(SystemExit):
    """The user's code has called `os._exit`."""


@contextmanager
def without_hard_exits() -> Iterator[None]:
    """Lets `os._exit` raise `HardExit` in this process; a child that was forked meanwhile ends as it wants to."""
    real, process = os._exit, os.getpid()

    def ends(status: int) -> NoReturn:
        if os.getpid() == process:
            raise HardExit(status)
        real(status)

    os._exit = ends
    try:
        yield
    finally:
        os._exit = real
