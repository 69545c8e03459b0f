"""All checks of a node: begun, kept and ended as the configuration changes, and their results written down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from headgate.monitor.checker import Checker, Probe
from headgate.monitor.judge import Judge, State
from headgate.monitor.target import Key, Target
from headgate.monitor.wheel import Wheel

REMEMBERED_S = 60.0
"""A server that is back within this time is the one that it was."""

log = logging.getLogger("headgate.monitor")


class Board(Protocol):
    """Where all processes see how servers are."""

    def known(self) -> dict[Key, State]:
        """What was said last."""

    def weights(self) -> dict[Key, int]:
        """The percentages of weights that were said last, but for those that are 100."""

    def say(self, key: Key, state: State) -> None:
        """Says how a server is."""

    def weighs(self, key: Key, percent: int) -> None:
        """Says how much of its weight a server takes."""

    def count(self, key: Key, *, is_well: bool) -> None:
        """Counts a check."""


class Monitor:
    """The checkers by the servers that they check."""

    def __init__(
        self,
        board: Board,
        make_probe: Callable[[Target], Probe],
        changed: Callable[[Target, State, str], None],
    ) -> None:
        self._board, self._make_probe, self._changed = board, make_probe, changed
        self._checkers: dict[Key, Checker] = {}
        self._left: dict[Key, tuple[Checker, asyncio.TimerHandle]] = {}
        """Servers that are gone, with what was known of them."""
        self._wheel = Wheel()
        self._before = board.known()
        """What a monitor before this one has said."""
        self._weights: dict[Key, int] = dict(board.weights())
        """The percentages that differ from 100."""

    def watch(self, wanted: Iterable[Target]) -> None:
        """Checks these servers, and no others; what did not change is not touched."""
        by_key = {target.key: target for target in wanted}
        for key, checker in list(self._checkers.items()):
            if by_key.get(key) != checker.target:
                self._end(key)
                if key not in by_key:
                    self._board.say(key, "unknown")
        for key, target in by_key.items():
            if key not in self._checkers:
                self._begin(target)
        for key, state in self._before.items():
            if key not in by_key and state != "unknown":
                self._board.say(key, "unknown")
        self._before = {}
        for key in list(self._weights):
            if key not in by_key or not by_key[key].check["weight_header"]:
                self._weigh(key, 100)

    def close(self) -> None:
        """Ends all checks; what was said of servers stays."""
        for checker in self._checkers.values():
            checker.stop()
        for _, timer in self._left.values():
            timer.cancel()

    # ---- steps

    def _begin(self, target: Target) -> None:
        state = self._before.get(target.key, "unknown")
        judge = None
        if left := self._left.pop(target.key, None):
            before, timer = left
            timer.cancel()
            judge = before.judge if before.target == target else None
            state = before.judge.state
        check = target.check
        judge = judge or Judge(check["rise"], check["fall"], state)
        if judge.state != "unknown":
            self._board.say(target.key, judge.state)
        checker = Checker(target, self._make_probe(target), judge, self._wheel, self._told)
        self._checkers[target.key] = checker
        checker.begin()

    def _end(self, key: Key) -> None:
        checker = self._checkers.pop(key)
        checker.stop()
        timer = asyncio.get_running_loop().call_later(REMEMBERED_S, lambda: self._left.pop(key, None))
        self._left[key] = (checker, timer)

    def _told(self, checker: Checker, failure: str | None, is_changed: bool) -> None:
        target, judge = checker.target, checker.judge
        self._board.count(target.key, is_well=failure is None)
        if checker.weight is not None:
            self._weigh(target.key, checker.weight)
        if not is_changed:
            return
        self._board.say(target.key, judge.state)
        facts = {"upstream": target.upstream, "server": target.server}
        if failure is None:
            log.info("the server is up", extra=facts)
        else:
            log.warning("the server is down: %s", failure, extra=facts)
        self._changed(target, judge.state, failure or "")

    def _weigh(self, key: Key, percent: int) -> None:
        if self._weights.get(key, 100) == percent:
            return
        log.info("the server's weight is %d %%", percent, extra={"upstream": key[0], "server": key[1]})
        self._board.weighs(key, percent)
        if percent == 100:
            del self._weights[key]
        else:
            self._weights[key] = percent
