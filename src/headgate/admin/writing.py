"""Every write goes this one way: checked against what the caller may do and expects, written, applied, audited."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headgate.compile.masking import has_mask, masked
from headgate.config.resources import KINDS, kind_named
from headgate.stores import Document, Key, Resource, Snapshot, Transaction, Write, checked_key

from .access import Caller
from .node import Node, Written
from .problems import Refusal

ANY = "*"
MOST_NAME = 200
Expectation = Sequence[int | str] | None
"""Revisions of which a resource must have one, or `*`: it must exist. None: whatever it has."""

audit_log = logging.getLogger("headgate.audit")


@dataclass(frozen=True)
class Operation:
    """One change of one resource; `make` gives the document from the one before, None to delete it."""

    key: Key
    make: Any
    expected: Expectation = None
    must_be_new: bool = False
    must_exist: bool = False


def resource_key(kind: str, name: str) -> Key:
    """The key of a resource; raises a `Refusal` for what cannot be one."""
    if kind not in KINDS:
        raise Refusal(404, f"there is no kind `{kind[:100]}`", f"one of {', '.join(KINDS)}")
    try:
        key = checked_key(kind, name)
    except ValueError as error:
        message, _, hint = str(error).partition("\n  hint: ")
        raise Refusal(422, message, hint or None) from None
    if name in (".", "..") or "/" in name:
        raise Refusal(422, f"`{name}` is not a valid name", "leave out `/`, and do not call it `.` or `..`")
    return key


async def carry_out(
    node: Node, caller: Caller, operations: Sequence[Operation], *, note: str = "", is_trial: bool = False
) -> Written:
    """Does all operations in one transaction, or none."""
    for operation in operations:
        kind = kind_named(operation.key.kind)
        caller.must_be("admin" if kind.is_sensitive else "operate")
    done: list[tuple[Key, Document | None, Document | None]] = []

    def decide(snapshot: Snapshot) -> Transaction:
        done.clear()
        writes = []
        for operation in operations:
            found = snapshot.resources.get(operation.key)
            check(operation, found)
            before = found.document if found else None
            after = operation.make(before)
            if after is not None:
                _check_document(operation.key, after)
            done.append((operation.key, before, after))
            writes.append(Write(operation.key, after))
        return Transaction(tuple(writes), author=caller.name, note=note)

    written = await node.write(decide, is_trial=is_trial)
    if not is_trial:
        audit(caller, written.snapshot.revision.number, done, note)
    return written


def check(operation: Operation, found: Resource | None) -> None:
    """Whether a resource is as an operation expects; raises a 404 or a 412."""
    if found is None and operation.must_exist and operation.expected is None:
        raise Refusal(404, f"there is no resource `{operation.key}`")
    if operation.must_be_new and found is not None:
        raise Refusal(412, f"`{operation.key}` exists, at revision {found.revision}")
    if operation.expected is None:
        return
    if found is None:
        raise Refusal(412, f"there is no resource `{operation.key}`", "somebody may have deleted it")
    if ANY not in operation.expected and found.revision not in operation.expected:
        raise Refusal(412, f"`{operation.key}` is at revision {found.revision}", "read it again")


def _check_document(key: Key, document: Any) -> None:
    if not isinstance(document, dict):
        raise Refusal(422, f"`{key}` is a table", "write its keys as a JSON object")
    if has_mask(key.kind, document):
        raise Refusal(422, f"`{key}` holds a masked secret", "PATCH what changes, or write the secret itself")


def audit(
    caller: Caller, revision: int, done: Sequence[tuple[Key, Document | None, Document | None]], note: str
) -> None:
    """A line in the log for each resource that was changed: who, what, and which keys differ, without values."""
    for key, before, after in done:
        if before == after:
            continue
        verb = "created" if before is None else "deleted" if after is None else "changed"
        differing = sorted(
            name
            for name in {*(before or {}), *(after or {})}
            if (before or {}).get(name) != (after or {}).get(name)
        )
        facts = {"by": caller.name, "revision": revision, "keys": ",".join(differing)}
        audit_log.info("%s %s", verb, key, extra=facts | ({"note": note} if note else {}))


def shown(key: Key, document: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A document as it may be shown."""
    return None if document is None else masked(key.kind, document)
