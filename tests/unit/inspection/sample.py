"""Code to look at: lines that tests name are marked."""

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any


def marked(mark: str) -> int:
    """The number of the line that ends with this mark."""
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {mark}"))


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


def double(number: int) -> int:
    twice = number * 2
    return twice  # twice


@decorated
def wrapped(number: int) -> int:
    return number + 1


def outer(start: int) -> Callable[[int], int]:
    def inner(more: int) -> int:
        both = start + more
        return both  # both

    return inner


async def waits(count: int) -> int:
    total = 0
    for number in range(count):
        await asyncio.sleep(0)
        total += number  # waited
    return total


def guarded(number: int) -> str:
    try:
        with open("/dev/null"):
            number += 1  # within
        raise ValueError(number)
    except ValueError as error:
        return str(error)  # caught


class Shape:
    sides = 4

    def area(self, length: int) -> int:
        return length * length  # area

    @property
    def corners(self) -> int:
        return self.sides

    @staticmethod
    def name() -> str:
        return "shape"


kept = {"hidden": functools.partial(outer(10), 1)}
