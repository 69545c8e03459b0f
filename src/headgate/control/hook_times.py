"""How long hooks take: what a worker reports of its own, and the sums over all workers.

How it works: the engine keeps a histogram for each hook, the first bucket under 1 us and each further one twice as
wide. Histograms of the same hook in several workers are added up; a quantile is the end of the bucket that it falls
into, so it is right within a factor of two.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from headgate.control.messages import HookTimes

MOST_HOOKS = 300
"""A worker reports at most so many, those that took longest: a message has a limit."""


class HasTimes(Protocol):
    """The engine; `headgate._core.Core` is one."""

    def hook_times(self) -> list[tuple[int, int, int, int, int, list[int]]]:
        """In the order of the hooks it was given."""


def times_of(core: HasTimes, hooks: Sequence[Any]) -> list[HookTimes]:
    """What the hooks of one worker took; those never called are left out."""
    reported = [
        HookTimes(
            phase=spec.phase,
            hook=spec.name,
            plugin=spec.plugin,
            calls=calls,
            failures=failures,
            total_us=total_us,
            longest_us=longest_us,
            inline_us=inline_us,
            buckets=buckets,
        )
        for spec, (calls, failures, total_us, longest_us, inline_us, buckets) in zip(
            hooks, core.hook_times(), strict=False
        )
        if calls
    ]
    return sorted(reported, key=lambda times: -times.total_us)[:MOST_HOOKS]


def by_hook(reported: Iterable[HookTimes]) -> list[HookTimes]:
    """The sums of each hook in each phase."""
    return _summed(reported, lambda times: (times.phase, times.hook, times.plugin))


def by_phase(reported: Iterable[HookTimes]) -> list[HookTimes]:
    """The sums of each phase."""
    return _summed(reported, lambda times: (times.phase, "", None))


def by_plugin(reported: Iterable[HookTimes]) -> list[HookTimes]:
    """The sums of each plugin, over all its phases."""
    own = (times for times in reported if times.plugin)
    return _summed(own, lambda times: ("", "", times.plugin))


def quantile_us(times: HookTimes, share: float) -> int:
    """The time under which this share of the calls stayed, at most twice too much."""
    wanted, counted = share * sum(times.buckets), 0
    for bucket, calls in enumerate(times.buckets):
        counted += calls
        if counted >= wanted:
            return min(1 << bucket, max(times.longest_us, 1))
    return times.longest_us


def _summed(
    reported: Iterable[HookTimes], key: Callable[[HookTimes], tuple[str, str, str | None]]
) -> list[HookTimes]:
    groups: dict[tuple[str, str, str | None], list[HookTimes]] = {}
    for times in reported:
        groups.setdefault(key(times), []).append(times)
    sums = [_sum(*name, group) for name, group in groups.items()]
    return sorted(sums, key=lambda times: -times.total_us)


def _sum(phase: str, hook: str, plugin: str | None, group: list[HookTimes]) -> HookTimes:
    length = max(len(times.buckets) for times in group)
    padded = [[*times.buckets, *[0] * length][:length] for times in group]
    return HookTimes(
        phase=phase,
        hook=hook,
        plugin=plugin,
        calls=sum(times.calls for times in group),
        failures=sum(times.failures for times in group),
        total_us=sum(times.total_us for times in group),
        longest_us=max(times.longest_us for times in group),
        inline_us=sum(times.inline_us for times in group),
        buckets=[sum(calls) for calls in zip(*padded, strict=True)],
    )
