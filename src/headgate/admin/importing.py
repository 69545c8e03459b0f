"""Imports: what makes the store hold a set of resources, and what their owner has no more.

How it works: who imports is remembered as the owner of what it imported, under a kind of its own in the store. Pruning
takes out only what the same owner had imported before, so that nobody takes out what others have made; and not
nearly everything at once, as an empty folder would, unless that is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headgate.stores import Key, Snapshot

from .problems import Refusal
from .writing import Operation

OWNERS = "owners"
"""The kind under which owners are remembered; not one that can be asked for."""

MOST_PRUNED = 0.3
"""Of an owner's resources, without `allow_many`."""


class Import:
    """Resources to be there, by key; `changes` says what that comes to once it was planned."""

    def __init__(self, wanted: Mapping[Key, Any], owner: str, *, prunes: bool, may_prune_many: bool) -> None:
        self._wanted, self._owner = wanted, owner
        self._prunes, self._may_prune_many = prunes, may_prune_many
        self.changes: dict[str, list[Key]] = {}

    def plan(self, snapshot: Snapshot) -> Sequence[Operation]:
        """The operations on what the store holds; raises a 409 where too much would be pruned."""
        had = owned_by(snapshot, self._owner)
        others = {
            key for owner in _owners(snapshot) if owner != self._owner for key in owned_by(snapshot, owner)
        }
        pruned = sorted(key for key in had if key not in self._wanted and key in snapshot.resources)
        pruned = [key for key in pruned if key not in others] if self._prunes else []
        self._check(had, pruned)
        found = {key: snapshot.resources.get(key) for key in self._wanted}
        self.changes = {
            "created": sorted(key for key, one in found.items() if one is None),
            "changed": sorted(key for key, one in found.items() if one and one.document != self._wanted[key]),
            "unchanged": sorted(
                key for key, one in found.items() if one and one.document == self._wanted[key]
            ),
            "deleted": pruned,
        }
        owned = {*self._wanted, *(() if self._prunes else had)}
        mark = {"resources": sorted(map(str, owned))}
        return [
            *(Operation(key, lambda _, key=key: self._wanted[key]) for key in sorted(self._wanted)),
            *(Operation(key, lambda _: None) for key in pruned),
            Operation(Key(OWNERS, self._owner), lambda _: mark if owned else None),
        ]

    def _check(self, had: set[Key], pruned: Sequence[Key]) -> None:
        if self._may_prune_many or not pruned:
            return
        emptied = [
            kind
            for kind in sorted({key.kind for key in pruned})
            if all(key in pruned for key in had if key.kind == kind)
            and len([k for k in had if k.kind == kind]) > 1
        ]
        if (len(pruned) > MOST_PRUNED * len(had) and len(pruned) > 1) or emptied:
            raise Refusal(
                409,
                f"this would delete {len(pruned)} of the {len(had)} resources of `{self._owner}`",
                "if that is meant: `allow_many`, or `--yes-really` on the command line",
            )


def owned_by(snapshot: Snapshot, owner: str) -> set[Key]:
    """What an owner has imported."""
    found = snapshot.resources.get(Key(OWNERS, owner))
    listed = found.document.get("resources", ()) if found else ()
    return {Key(*one.split("/", 1)) for one in listed if isinstance(one, str) and "/" in one}


def _owners(snapshot: Snapshot) -> list[str]:
    return [key.name for key in snapshot.resources if key.kind == OWNERS]
