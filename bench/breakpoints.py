"""What a breakpoint of `headgate inspect` costs: nanoseconds a call of a function of four lines, best of 9.

Needs no gateway and no build, so that it runs with any Python: PYTHONPATH=src python3.13 bench/breakpoints.py
"""

import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

from headgate.inspection import Inspection, Order

CALLS = 20_000


def looked_at(number: int) -> int:
    """The function in question."""
    total = number + 1
    if total < 0:
        total = -1
    return total


def another(number: int) -> int:
    """One that nobody looks at."""
    total = number + 2
    if total < 0:
        total = -2
    return total


def traced(frame: object, event: str, value: object) -> None:
    """What debuggers do to every function."""


def nanoseconds(function: Callable[[int], int], calls: int = CALLS) -> float:
    """The least that a call took."""
    best = float("inf")
    for _ in range(9):
        began = time.perf_counter()
        for _ in range(calls):
            function(1)
        best = min(best, time.perf_counter() - began)
    return best / calls * 1e9


def inspected(order: Order, function: Callable[[int], int], calls: int = CALLS) -> float:
    """The same while something is looked at."""
    inspection = Inspection(order, lambda told: None, lambda: None)
    inspection.begin()
    try:
        return nanoseconds(function, calls)
    finally:
        inspection.end()


def main() -> None:
    here = Path(__file__).name
    first = looked_at.__code__.co_firstlineno
    unreached = f"{here}:{first + 4}"
    at = f"{here}:{first + 5}"
    rows = {
        "nothing looked at": nanoseconds(looked_at),
        "at a line that is not reached": inspected(Order(unreached), looked_at),
        "the condition says no": inspected(Order(at, condition="number > 5"), looked_at),
        "a hit with one value": inspected(Order(at, show=("total",)), looked_at, CALLS // 10),
        "another function, meanwhile": inspected(Order(at, condition="number > 5"), another),
        "nothing looked at any more": nanoseconds(looked_at),
    }
    sys.settrace(traced)
    rows["for comparison, any function under `sys.settrace`"] = nanoseconds(another)
    sys.settrace(None)
    print(f"Python {platform.python_version()}, ns a call")
    for what, took in rows.items():
        print(f"  {what:50} {took:8,.0f}")


if __name__ == "__main__":
    main()
