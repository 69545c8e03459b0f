"""A profile: how long which stacks of Python code were seen, by phase and hook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

MOST_STACKS = 20_000
"""That are kept apart; the rest is one stack."""
OTHER = "(other stacks)"


class Frame(NamedTuple):
    """A function in a stack, or what a stack belongs to: a phase, a hook, a thread. `line` is its first; 0: none."""

    name: str
    file: str = ""
    line: int = 0


Stack = tuple[Frame, ...]
"""The outermost call first."""


class Profile:
    """Seconds by stack. `idle_s` is the time in which the event loops only waited, `engine_s` that of native code."""

    def __init__(self) -> None:
        self.stacks: dict[Stack, float] = {}
        self.idle_s = self.engine_s = 0.0
        self.samples = 0

    def add(self, stack: Stack, seconds: float) -> None:
        """A stack was seen for a while."""
        if stack not in self.stacks and len(self.stacks) >= MOST_STACKS:
            stack = (Frame(OTHER),)
        self.stacks[stack] = self.stacks.get(stack, 0.0) + seconds

    def merge(self, other: Profile) -> None:
        """Adds what another process has seen."""
        for stack, seconds in other.stacks.items():
            self.add(stack, seconds)
        self.idle_s += other.idle_s
        self.engine_s += other.engine_s
        self.samples += other.samples

    @property
    def python_s(self) -> float:
        """The time of all stacks."""
        return sum(self.stacks.values())

    def by_hook(self) -> list[tuple[str, str, float]]:
        """Phase, hook and seconds, the longest first; the phase of what belongs to no hook is empty."""
        sums: dict[tuple[str, str], float] = {}
        for stack, seconds in self.stacks.items():
            is_hook = len(stack) > 1 and not stack[1].file
            key = (stack[0].name, stack[1].name) if is_hook else ("", stack[0].name)
            sums[key] = sums.get(key, 0.0) + seconds
        return sorted(((*key, seconds) for key, seconds in sums.items()), key=lambda one: -one[2])

    def plain(self) -> dict[str, Any]:
        """As JSON knows it: stacks as positions in a table of frames."""
        places: dict[Frame, int] = {}
        stacks = [
            [[places.setdefault(frame, len(places)) for frame in stack], round(seconds, 6)]
            for stack, seconds in self.stacks.items()
        ]
        return {
            "frames": [list(frame) for frame in places],
            "stacks": stacks,
            "idle_s": round(self.idle_s, 6),
            "engine_s": round(self.engine_s, 6),
            "samples": self.samples,
        }

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Profile:
        """From that."""
        profile = cls()
        frames = [Frame(*frame) for frame in plain["frames"]]
        for places, seconds in plain["stacks"]:
            profile.add(tuple(frames[place] for place in places), seconds)
        profile.idle_s, profile.engine_s = plain["idle_s"], plain["engine_s"]
        profile.samples = plain["samples"]
        return profile


class Node:
    """A frame in the tree of all stacks, with what it called."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.seconds = frame, 0.0
        self.children: dict[Frame, Node] = {}

    def sorted(self) -> Iterator[Node]:
        """What it called, by name."""
        return iter(sorted(self.children.values(), key=lambda one: one.frame))


def tree(profile: Profile) -> Node:
    """All stacks from their common root."""
    root = Node(Frame("all"))
    for stack, seconds in profile.stacks.items():
        node = root
        node.seconds += seconds
        for frame in stack:
            node = node.children.setdefault(frame, Node(frame))
            node.seconds += seconds
    return root
