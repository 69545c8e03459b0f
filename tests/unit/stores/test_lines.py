"""What a store says in the log while its connection comes and goes."""

import logging

import pytest

from headgate.stores import StoreUnavailable
from headgate.stores.watching import MOST_LINES, Lines

from .test_watching import Numbers


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_line_is_due_again_after_a_minute() -> None:
    clock = Clock()
    lines = Lines(clock)
    assert [lines.is_due("a"), lines.is_due("b"), lines.is_due("a")] == [True, True, False]
    clock.now += 59.9
    assert not lines.is_due("a")
    clock.now += 0.2
    assert [lines.is_due("a"), lines.is_due("a")] == [True, False]


def test_only_so_many_lines_are_remembered() -> None:
    lines = Lines(Clock())
    for number in range(MOST_LINES + 1):
        assert lines.is_due(str(number))
    assert lines.is_due("0") and not lines.is_due(str(MOST_LINES))


def test_a_store_that_comes_and_goes_says_each_reason_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock, store = Clock(), Numbers()
    store._lines = Lines(clock)
    with caplog.at_level(logging.WARNING, "headgate.stores"):
        for _ in range(300):
            store.is_ill(StoreUnavailable("invalid auth token"))
            store.is_ill(StoreUnavailable("connection refused"))
            store.is_well()
            clock.now += 0.5
    reasons = [getattr(record, "error", "") for record in caplog.records]
    assert sorted(reasons) == ["connection refused"] * 3 + ["invalid auth token"] * 3
    assert store.health.is_connected
