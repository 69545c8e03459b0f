"""When certificates are renewed, and when failed orders are tried again."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from headgate.acme import schedule
from headgate.acme.network import parsed_wait

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("life", "earliest", "latest"),
    [
        (timedelta(days=90), timedelta(days=55.5), timedelta(days=60)),
        (timedelta(days=45), timedelta(days=27.7), timedelta(days=30)),
        (timedelta(days=6), timedelta(days=2.7), timedelta(days=3)),
    ],
)
def test_renewal_is_a_share_of_the_life_whatever_it_is(
    life: timedelta, earliest: timedelta, latest: timedelta
) -> None:
    for jitter in (0.0, 0.5, 1.0):
        after = schedule.due(BEGIN, BEGIN + life, jitter) - BEGIN
        assert earliest <= after <= latest


def test_short_certificate_is_not_due_again_at_once() -> None:
    life = timedelta(days=6)
    first = schedule.due(BEGIN, BEGIN + life, 1.0)
    assert schedule.due(first, first + life, 1.0) - first > timedelta(days=2)


def test_waits_grow_to_a_day_and_never_undercut_what_the_authority_says() -> None:
    chance = random.Random(1)
    waits = [schedule.retry_after(failures, None, chance) for failures in range(1, 40)]
    assert timedelta(seconds=30) <= waits[0] <= timedelta(minutes=1)
    assert all(wait <= timedelta(days=1) for wait in waits) and waits[-1] >= timedelta(hours=12)
    assert schedule.retry_after(1, timedelta(hours=3), chance) == timedelta(hours=3)


def test_alerts_escalate_as_the_end_comes_nearer() -> None:
    end = BEGIN + timedelta(days=90)
    days = {60: "none", 65: "warning", 75: "error", 85: "critical", 95: "critical"}
    assert {day: schedule.alert(BEGIN, end, BEGIN + timedelta(days=day)) for day in days} == days


def test_certificate_that_was_just_ordered_is_not_due_whatever_the_clock_says() -> None:
    life = timedelta(days=90)
    assert schedule.settled(BEGIN, life, BEGIN + timedelta(days=1)) == BEGIN + timedelta(days=22.5)
    assert schedule.settled(BEGIN, life, BEGIN - timedelta(days=1)) < BEGIN, "noted by a wrong clock"


def test_times_too_far_ahead_are_of_a_wrong_clock() -> None:
    day = timedelta(days=1)
    assert schedule.plausible(BEGIN + day, BEGIN, day) == BEGIN + day
    assert schedule.plausible(BEGIN + 2 * day, BEGIN, day) is None is schedule.plausible(None, BEGIN, day)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("120", timedelta(minutes=2)),
        ("999999999999", timedelta(days=8)),
        ("Thu, 01 Jan 2026 02:00:00 GMT", timedelta(hours=2)),
        ("Wed, 31 Dec 2025 23:00:00 GMT", timedelta(0)),
        ("too many, retry after 2026-01-01 12:00:00 UTC: see https://a.test", timedelta(hours=12)),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_waits_that_authorities_ask_for_are_understood(text: str, wait: timedelta | None) -> None:
    assert parsed_wait(text, BEGIN) == wait
