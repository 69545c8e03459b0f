"""When a name is looked up again, and what is believed meanwhile."""

import pytest

from headgate.config.resolver import ResolverConfig
from headgate.discovery.outcomes import Failed, Nothing, Outcome, Resolved
from headgate.discovery.schedule import Standing, pause_s, take

CONFIG = ResolverConfig()
ONE, OTHER = frozenset({"192.0.2.1"}), frozenset({"192.0.2.2"})
NXDOMAIN, NODATA = Nothing("nxdomain", None), Nothing("nodata", None)


def after(*outcomes: Outcome, known: frozenset[str] | None = None, now_s: float = 1.0) -> Standing:
    standing = Standing(records=known)
    for outcome in outcomes:
        take(standing, outcome, now_s, CONFIG)
    return standing


@pytest.mark.parametrize(
    ("ttl_s", "least", "most"),
    [(0, 5, 5), (4.9, 5, 5), (20, 18, 20), (60, 54, 60), (86_400, 54, 60)],
)
def test_ttl_has_a_floor_and_a_ceiling(ttl_s: float, least: float, most: float) -> None:
    outcome = Resolved(ONE, ttl_s)
    for chance in (0.0, 0.5, 1.0):
        assert least <= pause_s(after(outcome), outcome, CONFIG, lambda chance=chance: chance) <= most


def test_pauses_after_failures_double_up_to_30_s() -> None:
    standing, pauses = Standing(), []
    for _ in range(7):
        take(standing, Failed("silence"), 1.0, CONFIG)
        pauses.append(pause_s(standing, Failed("silence"), CONFIG, lambda: 0.0))
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    take(standing, Resolved(ONE, 9), 1.0, CONFIG)
    take(standing, Failed("silence"), 1.0, CONFIG)
    assert pause_s(standing, Failed("silence"), CONFIG, lambda: 0.0) == 1, "a success begins anew"


@pytest.mark.parametrize(("ttl_s", "pause"), [(None, 1), (0, 5), (20, 20), (3600, 30)])
def test_negative_responses_hold_as_long_as_they_say_but_no_longer_than_30_s(
    ttl_s: float | None, pause: float
) -> None:
    outcome = Nothing("nxdomain", ttl_s)
    assert pause_s(after(outcome), outcome, CONFIG, lambda: 0.0) == pause


@pytest.mark.parametrize("negative", [NXDOMAIN, NODATA])
def test_three_negative_responses_in_a_row_remove_what_was_known(negative: Nothing) -> None:
    assert after(negative, negative, known=ONE).records == ONE
    assert after(negative, negative, Failed("silence"), negative, known=ONE).records == ONE, "not in a row"
    assert after(negative, negative, negative, known=ONE).records == frozenset()
    assert after(negative, negative, negative, Resolved(OTHER, 1), known=ONE).records == OTHER


def test_failures_keep_what_was_known_for_as_long_as_is_set() -> None:
    standing = after(Resolved(ONE, 5), now_s=100.0)
    assert not take(standing, Failed("silence"), 100.0 + CONFIG.keep, CONFIG)
    assert standing.records == ONE and standing.error == "silence"
    assert take(standing, Failed("silence"), 101.0 + CONFIG.keep, CONFIG)
    assert standing.records == frozenset()


def test_the_same_records_are_no_change() -> None:
    standing = Standing()
    assert take(standing, Resolved(ONE | OTHER, 5), 1.0, CONFIG)
    assert not take(standing, Resolved(OTHER | ONE, 9), 2.0, CONFIG)
    assert take(standing, Resolved(ONE, 9), 3.0, CONFIG)
