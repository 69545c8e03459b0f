"""Every write goes this one way: checked against what the caller may do and expects, written, applied, audited."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headgate.compile.masking import has_mask, masked
from headgate.config.resources import KINDS
from headgate.stores import Document, Key, Resource, RevisionCompacted, Snapshot, Transaction, Write
from headgate.stores.documents import encoded

from .access import Caller
from .node import Node, Written
from .problems import Refusal

ANY = "*"
NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
"""Of a resource."""
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
    deletes: bool = False
    is_relative: bool = False
    """Whether `make`, of what it has made, would give something else: an item is added to a list a second time."""


def resource_key(kind: str, name: str) -> Key:
    """The key of a resource; raises a `Refusal` for what cannot be one."""
    if kind not in KINDS:
        raise Refusal(404, f"there is no kind `{kind[:100]}`", f"one of {', '.join(KINDS)}")
    if not re.fullmatch(NAME_PATTERN, name):
        raise Refusal(422, f"`{name[:100]}` is not a valid name", "up to 100 letters, digits, `_`, `-`, `.`")
    return Key(kind, name)


Plan = Callable[[Snapshot], Sequence[Operation]]
"""What is to be done, given what the store holds."""


async def carry_out(
    node: Node, caller: Caller, operations: Sequence[Operation], *, note: str = "", is_trial: bool = False
) -> Written:
    """Does all operations in one transaction, or none."""

    def plan(snapshot: Snapshot) -> Sequence[Operation]:
        if caller.says_what_it_expects:
            for operation in operations:
                check_expectation(operation, snapshot)
        return operations

    return await carry_out_plan(node, caller, plan, note=note, is_trial=is_trial)


async def carry_out_plan(
    node: Node, caller: Caller, plan: Plan, *, note: str = "", is_trial: bool = False
) -> Written:
    """Does what a plan says in one transaction, or nothing; it is asked again when others write meanwhile."""
    done: list[tuple[Key, Document | None, Document | None]] = []
    former: Mapping[Key, Resource] = {}

    def decide(snapshot: Snapshot) -> Transaction:
        done.clear()
        writes = []
        for operation in plan(snapshot):
            found = snapshot.resources.get(operation.key)
            after = performed(caller, operation, found, former.get(operation.key))
            done.append((operation.key, found.document if found else None, after))
            writes.append(Write(operation.key, after))
        return Transaction(tuple(writes), author=caller.name, note=note)

    def written(snapshot: Snapshot) -> None:
        audit(caller, snapshot.revision.number, done, note)

    try:
        return await node.write(decide, is_trial=is_trial, written=written)
    except Refusal:
        former = await before_last_change(node, plan(node.newest))
        if not former:
            raise
        return await node.write(decide, is_trial=is_trial, written=written)


async def before_last_change(node: Node, operations: Sequence[Operation]) -> Mapping[Key, Resource]:
    """What relative operations found if they are sent again, as the store's history has it; empty if they are not.

    They were done in one revision, which changed all of their resources last, and each found what it expects.
    """
    relative = [one for one in operations if one.is_relative and one.expected is not None]
    found = [node.newest.resources.get(one.key) for one in relative]
    revisions = {one.revision if one else 0 for one in found}
    if len(revisions) != 1 or (number := revisions.pop()) < 1:
        return {}
    try:
        before = (await node.store.at(number - 1)).resources
    except (RevisionCompacted, LookupError):
        return {}
    return {one.key: before[one.key] for one in relative if one.key in before}


def performed(
    caller: Caller, operation: Operation, found: Resource | None, former: Resource | None = None
) -> Document | None:
    """The document that an operation makes of a resource, None to delete it; raises a `Refusal`.

    `former` is the resource before its last change, if that may have been this operation.
    """
    may_change(caller, operation.key)
    if former and found and _was_done(operation, former, found):
        return found.document
    try:
        check(operation, found)
    except Refusal:
        if not is_done_already(operation, found):
            raise
    after: Document | None = operation.make(found.document if found else None)
    if after is not None:
        _check_document(operation.key, after)
    return after


def is_done_already(operation: Operation, found: Resource | None) -> bool:
    """Whether a resource is what an operation with an expectation would make of it (RFC 9110 section 13.1.1).

    Whoever did not get the response to a change sends it again, and does not expect the revision that it has made.
    """
    if operation.expected is None:
        return False
    if found is None:
        return operation.deletes
    try:
        after: Document | None = operation.make(found.document)
    except Refusal:
        return False
    return after is not None and encoded(after) == encoded(found.document)


def _was_done(operation: Operation, former: Resource, found: Resource) -> bool:
    """Whether an operation makes of the former resource what is found, and expects the former one."""
    try:
        check(operation, former)
        after: Document | None = operation.make(former.document)
    except Refusal:
        return False
    return after is not None and encoded(after) == encoded(found.document)


def may_change(caller: Caller, key: Key) -> None:
    """Raises a 403 for a caller who may not change a resource."""
    is_sensitive = key.kind in KINDS and KINDS[key.kind].is_sensitive
    caller.must_be("admin" if is_sensitive else "operate")


def check_expectation(operation: Operation, snapshot: Snapshot) -> None:
    """Raises a 428 (RFC 6585 section 3) for a change of what exists that says nothing of what it expects there."""
    says_nothing = operation.expected is None and not operation.must_be_new
    if says_nothing and (found := snapshot.resources.get(operation.key)):
        raise Refusal(
            428,
            f"`{operation.key}` exists, and the change does not say which revision it expects",
            f'read it, then send its ETag: `If-Match: "{found.revision}"` (in a transaction: `if_match`)',
        )


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
    if key.kind in KINDS and has_mask(key.kind, document):
        raise Refusal(422, f"`{key}` holds a masked secret", "PATCH what changes, or write the secret itself")


def audit(
    caller: Caller, revision: int, done: Sequence[tuple[Key, Document | None, Document | None]], note: str
) -> None:
    """A line in the log for each resource that was changed: who, what, and what differs, with secrets masked."""
    for key, before, after in done:
        if before == after:
            continue
        verb = "created" if before is None else "deleted" if after is None else "changed"
        names = {*(before or {}), *(after or {})}
        differing = sorted(name for name in names if (before or {}).get(name) != (after or {}).get(name))
        facts = {"by": caller.name, "revision": revision, "keys": ",".join(differing)}
        for side, document in (("before", before), ("after", after)):
            if key.kind in KINDS and (whole := shown(key, document)) is not None:
                facts[side] = _cut({name: whole[name] for name in differing if name in whole})
        audit_log.info("%s %s", verb, key, extra=facts | ({"note": note} if note else {}))


LONGEST_AUDITED = 2000
"""Characters of a side of a change in the log; the history has all of it."""


def _cut(part: Mapping[str, Any]) -> str:
    text = json.dumps(part, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= LONGEST_AUDITED else f"{text[:LONGEST_AUDITED]}..."


def shown(key: Key, document: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A document as it may be shown."""
    return None if document is None else masked(key.kind, document)
