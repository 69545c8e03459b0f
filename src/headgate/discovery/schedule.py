"""When a name is looked up again, and what is believed of it meanwhile. Pure: no clock, no I/O.

How it works: what a lookup found is used until the next one found something else. A lookup that failed changes nothing
for as long as `keep` says: servers outlive their name servers' failures (RFC 8767). That a name does not exist, or has
no addresses, is believed after `NEGATIVES` such responses in a row; a name that was never found is believed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headgate.config.resolver import ResolverConfig

from .outcomes import Failed, Nothing, Outcome, Resolved

NEGATIVES = 3
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""After lookups that found nothing: the pause doubles each time."""
JITTER = 0.1

Chance = Callable[[], float]
"""A number from 0 to 1."""


@dataclass
class Standing:
    """What is known of one name."""

    records: frozenset[str] | tuple[str, ...] | None = None
    """What was found last; None: nothing was found yet."""
    error: str = ""
    """Why the last lookup found nothing."""
    failures: int = 0
    """Lookups in a row that found nothing."""
    negatives: int = 0
    """Of these, responses in a row that say there is nothing."""
    found_s: float = 0.0
    """When something was found last."""

    @property
    def is_known(self) -> bool:
        """Whether the name has been looked up, with whatever outcome."""
        return self.records is not None or self.failures > 0


def take(standing: Standing, outcome: Outcome, now_s: float, config: ResolverConfig) -> bool:
    """Notes what a lookup came to; gives whether other records are to be used than before."""
    before = standing.records
    if isinstance(outcome, Resolved):
        standing.records, standing.found_s = outcome.records, now_s
        standing.error, standing.failures, standing.negatives = "", 0, 0
        return before != outcome.records
    standing.failures += 1
    standing.error = reason_of(outcome)
    if isinstance(outcome, Nothing):
        standing.negatives += 1
        is_over = standing.negatives >= NEGATIVES
    else:
        standing.negatives = 0
        is_over = now_s - standing.found_s > config.keep
    if before and is_over:
        standing.records = frozenset()
    return bool(before) and is_over


def reason_of(outcome: Nothing | Failed) -> str:
    """Why a lookup found nothing, in words."""
    if isinstance(outcome, Failed):
        return outcome.reason
    return "there is no such name" if outcome.kind == "nxdomain" else "it has no such records"


def pause_s(standing: Standing, outcome: Outcome, config: ResolverConfig, chance: Chance) -> float:
    """How long until the next lookup, in seconds."""
    if isinstance(outcome, Resolved):
        # sooner by chance, not later: the ceiling is a promise
        wanted = min(outcome.ttl_s, config.max_ttl) * (1 - JITTER * chance())
        return max(wanted, min(config.min_ttl, config.max_ttl))
    back_off: float = min(FIRST_PAUSE_S * 2 ** min(standing.failures - 1, 10), LONGEST_PAUSE_S)
    if isinstance(outcome, Nothing) and outcome.ttl_s is not None:
        floor = min(config.min_ttl, LONGEST_PAUSE_S)
        back_off = min(max(outcome.ttl_s, back_off, floor), LONGEST_PAUSE_S)
    return back_off * (1 + JITTER * chance())
