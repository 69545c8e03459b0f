"""A request on its way from a worker of the gateway to a worker that pulls, and what is known of it."""

from __future__ import annotations

import re
from typing import Protocol

from headgate._digits import whole_number
from headgate.dispatch.heads import Head
from headgate.dispatch.settings import Settings

USUAL_PRIORITY = 3  # RFC 9218 section 4.1
LOWEST_PRIORITY = 7
MAX_KEPT = 1 << 20
"""Bytes of a body that are kept, so that the request can be handed out again."""
HIGH_WATER = 64 << 10
"""Bytes of a body that wait for a worker, after which no more is read."""
MAX_WAITING = HIGH_WATER + (256 << 10)
"""With what one read may bring."""

_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))  # RFC 9110 section 9.2.2
_URGENCY = re.compile(r"(?:^|[,;\s])u=([0-7])(?![0-9])")
_SECONDS = re.compile(r"([0-9]{1,8}(?:\.[0-9]{1,6})?)\s*(ms|s|m)?")
_UNITS = {None: 0.001, "ms": 0.001, "s": 1.0, "m": 60.0}  # as `deadline` of an upstream has them


class Waiter(Protocol):
    """The connection that the request came on."""

    def reply(self, status: int, failure: str, retry_after_s: int | None = None) -> None:
        """The dispatcher's own response: why there is no other one."""

    def head(self, status: int, fields: list[tuple[str, str]]) -> None:
        """The response begins; raises `ValueError` for what no response may hold."""

    def data(self, part: bytes) -> None:
        """A part of its body."""

    def end(self) -> None:
        """It is complete; raises `ValueError` if it is not as long as it has said."""

    def cut(self) -> None:
        """It cannot be completed."""

    def resume(self) -> None:
        """More of the request's body can be taken."""


class Holder(Protocol):
    """The worker that has the request."""

    def more(self) -> None:
        """More of the request's body has come."""

    def cancel(self) -> None:
        """Nobody wants the response any more."""


class Request:
    """What waits, or is with a worker."""

    __slots__ = (
        *("waiter", "head", "priority", "caller", "deadline_s", "came_s", "handed_out_s"),
        *("charged_s", "holder", "attempt", "body", "is_complete", "has_begun", "kept"),
        *("most_held", "held"),
    )

    def __init__(self, head: Head, waiter: Waiter, settings: Settings, now_s: float) -> None:
        self.head, self.waiter = head, waiter
        self.priority = _priority(head, settings)
        self.caller = _caller(head, settings)
        self.came_s = now_s
        limit = _deadline(head, settings)
        self.deadline_s = None if limit is None else now_s + limit
        """The moment after which nobody wants the response; None if the client has told none."""
        self.handed_out_s = self.charged_s = 0.0
        self.holder: Holder | None = None
        self.attempt = 0
        self.body = bytearray()
        """What has come and was not sent to a worker."""
        self.is_complete = False
        self.has_begun = False
        """Whether the response has begun."""
        self.most_held = MAX_WAITING if head.is_chunked else min(head.length, MAX_WAITING)
        """Bytes of its body that it may hold while it waits."""
        self.held = 0
        """Of them, what the queue has set aside for it."""
        self.kept: bytearray | None = bytearray()
        """What was sent to a worker; None if that is too much to keep."""

    def sending(self, most: int) -> bytes:
        """Takes the next part of the body for a worker."""
        part = bytes(self.body[:most])
        del self.body[: len(part)]
        if self.kept is not None:
            self.kept += part
            if len(self.kept) > MAX_KEPT:
                self.kept = None
        return part

    def may_run_again(self, settings: Settings) -> bool:
        """Whether it may be handed out again after a worker was lost with it."""
        return (
            not self.has_begun
            and self.kept is not None
            and self.attempt < settings.attempts
            and (settings.at_least_once or self.head.method in _IDEMPOTENT)
        )

    def rewind(self) -> None:
        """As it was before it was handed out."""
        assert self.kept is not None, "which was looked at"
        self.body, self.kept = self.kept + self.body, bytearray()


def _caller(head: Head, settings: Settings) -> str:
    if settings.fair_by is None:
        return ""
    if settings.fair_by == "client":
        return (head.get("x-forwarded-for") or "").rpartition(",")[2].strip()
    return head.get(settings.fair_by.removeprefix("header:")) or ""


def _priority(head: Head, settings: Settings) -> int:
    value = settings.priority and head.get(settings.priority)
    if not value:
        return USUAL_PRIORITY
    number = whole_number(value[:18])
    if number is not None:
        return min(number, LOWEST_PRIORITY)
    found = _URGENCY.search(value)
    return int(found[1]) if found else USUAL_PRIORITY


def _deadline(head: Head, settings: Settings) -> float | None:
    value = settings.deadline and head.get(settings.deadline)
    found = _SECONDS.fullmatch(value.strip()) if value else None
    return float(found[1]) * _UNITS[found[2]] if found else None
