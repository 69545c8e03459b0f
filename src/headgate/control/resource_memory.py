"""The resources of a store in memory that processes share: the whole first, then a line for each difference to it.

How it works: the whole has the `revision`, `resources` by kind and name, and likewise the `numbers` of their
revisions. A difference has the revision, what is `set` as `[kind, name, document, number]`, and what is `removed` as
`[kind, name]`. Lines are only ever added, so who reads is told how many bytes were there.
"""

import json
from typing import Any

from headgate.control import memory


def merged(lines: bytes | bytearray) -> dict[str, Any]:
    """The resources after all differences; raises `ValueError`, `KeyError` or `TypeError` for what is none."""
    whole, *differences = lines.splitlines()
    told: dict[str, Any] = json.loads(whole)
    for line in differences:
        apply(told, json.loads(line))
    return told


def apply(told: dict[str, Any], difference: dict[str, Any]) -> None:
    """Changes resources as a difference says."""
    told["revision"] = difference["revision"]
    for kind, name, document, number in difference["set"]:
        told["resources"].setdefault(kind, {})[name] = document
        told["numbers"].setdefault(kind, {})[name] = number
    for kind, name in difference["removed"]:
        told["resources"].get(kind, {}).pop(name, None)
        told["numbers"].get(kind, {}).pop(name, None)


def read(descriptor: int, size: int) -> dict[str, Any]:
    """The resources in so many bytes of such memory; closes the descriptor."""
    return merged(memory.read_bytes(descriptor, size))
