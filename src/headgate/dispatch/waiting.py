"""Requests that wait: the order in which they are handed out. Pure: time is passed in.

How it works: a request of a higher priority goes first. Among those of one priority, callers take turns by deficit
round robin (Shreedhar and Varghese, 1995): each turn adds a quantum to the caller's balance, and it is served while
its balance lasts. What a request costs is the time that it holds a worker, which is known afterwards only: the mean is
charged when it is handed out, and the difference when it is done.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

FIRST_COST_S = 0.05
"""Taken for the mean before a request has been served."""
WEIGHT = 0.1
"""Of the newest request in the mean."""
LEAST_COST_S = 0.0001


class Account:
    """What one caller may use."""

    __slots__ = ("balance_s", "running", "waiting")

    def __init__(self) -> None:
        self.balance_s = 0.0
        self.waiting = 0
        self.running = 0


class Level(Generic[Item]):
    """The requests of one priority: the callers in turn, each with its requests in order."""

    def __init__(self) -> None:
        self.lines: OrderedDict[str, OrderedDict[Item, None]] = OrderedDict()

    def put(self, item: Item, caller: str, *, first: bool) -> None:
        """Adds a request at the end of its caller's, or before them."""
        line = self.lines.setdefault(caller, OrderedDict())
        line[item] = None
        if first:
            line.move_to_end(item, last=False)

    def remove(self, item: Item, caller: str) -> None:
        """Takes a request out."""
        line = self.lines[caller]
        del line[item]
        if not line:
            del self.lines[caller]


class Waiting(Generic[Item]):
    """All that wait for a worker of one upstream."""

    def __init__(self) -> None:
        self._levels: dict[int, Level[Item]] = {}
        self._places: OrderedDict[Item, tuple[int, str]] = OrderedDict()
        self._accounts: dict[str, Account] = {}
        self.mean_s = FIRST_COST_S
        """How long a request holds a worker: an exponentially weighted mean."""

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._places)

    def put(self, item: Item, priority: int, caller: str, *, first: bool = False) -> None:
        """Adds a request; lower numbers of `priority` go first. `first`: before the others of its caller."""
        self._places[item] = (priority, caller)
        if first:
            self._places.move_to_end(item, last=False)
        self._levels.setdefault(priority, Level()).put(item, caller, first=first)
        self._accounts.setdefault(caller, Account()).waiting += 1

    def take(self) -> Item | None:
        """Takes out the request whose turn it is; None if none waits. `begun` follows."""
        if not self._places:
            return None
        priority = min(self._levels)
        level = self._levels[priority]
        item = next(iter(level.lines[self._turn(level)]))
        self._drop(item)
        return item

    def begun(self, caller: str) -> float:
        """A request of the caller is handed out; gives what it is charged, which `done` takes."""
        account = self._accounts.setdefault(caller, Account())
        account.running += 1
        account.balance_s -= self.mean_s
        return self.mean_s

    def remove(self, item: Item) -> bool:
        """Takes out a request that waits no longer; false if it did not wait."""
        if item not in self._places:
            return False
        _, caller = self._places[item]
        self._drop(item)
        self._forget(caller)
        return True

    def done(self, caller: str, took_s: float, charged_s: float) -> None:
        """A request that was handed out has held a worker for so long."""
        account = self._accounts[caller]
        account.running -= 1
        account.balance_s -= took_s - charged_s
        self.mean_s = max((1 - WEIGHT) * self.mean_s + WEIGHT * took_s, LEAST_COST_S)
        self._forget(caller)

    def undone(self, caller: str, charged_s: float) -> None:
        """A request that was handed out was not begun: nothing is charged."""
        account = self._accounts[caller]
        account.running -= 1
        account.balance_s += charged_s
        self._forget(caller)

    # ---- steps

    def _turn(self, level: Level[Item]) -> str:
        """The caller whose turn it is."""
        lines, accounts = level.lines, self._accounts
        if len(lines) == 1:
            return next(iter(lines))
        for _ in range(len(lines)):
            caller = next(iter(lines))
            if accounts[caller].balance_s > 0:
                return caller
            lines.move_to_end(caller)
            accounts[caller].balance_s += self.mean_s
        # all owe more than a quantum: as many turns at once as it takes until one does not
        most = max(accounts[caller].balance_s for caller in lines)
        if most <= 0:
            turns = math.floor(-most / self.mean_s) + 1
            for caller in lines:
                accounts[caller].balance_s += turns * self.mean_s
        return next(caller for caller in lines if accounts[caller].balance_s > 0)

    def _drop(self, item: Item) -> None:
        priority, caller = self._places.pop(item)
        level = self._levels[priority]
        level.remove(item, caller)
        if not level.lines:
            del self._levels[priority]
        account = self._accounts[caller]
        account.waiting -= 1
        if not account.waiting:
            account.balance_s = min(account.balance_s, 0.0)  # turns that were not used are not saved up

    def _forget(self, caller: str) -> None:
        account = self._accounts[caller]
        if not account.waiting and not account.running:
            del self._accounts[caller]
