"""Waiting for what other processes release: polls at growing intervals, and at once when notified."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.0005, 0.005


async def until(take: Callable[[], T | None], freed: asyncio.Event) -> T:
    """The first thing that `take` gives; it is asked again after each pause, and whenever `freed` is set."""
    pause = FIRST_PAUSE_S
    while not (taken := take()):
        freed.clear()
        try:
            async with asyncio.timeout(pause):
                await freed.wait()
        except TimeoutError:
            pause = min(2 * pause, LONGEST_PAUSE_S)
    return taken
