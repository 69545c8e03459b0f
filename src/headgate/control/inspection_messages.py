"""What the supervisor and a worker send each other to look into the worker: breakpoints, profiles, blocked loops.

Who sends which, and when, is in the table of `messages`.
"""

from headgate.control.records import Message, Record


class CannotLook(Exception):
    """A breakpoint cannot be set; the text says why."""


class InspectOrder(Record):
    """What to look at, when, and what to show; see `headgate.inspection`."""

    at: str
    condition: str | None = None
    show: list[str] = []
    handler: str | None = None
    count: int = 0


class Inspect(Message):
    """Begins an inspection that ends after `for_s` seconds at the latest."""

    id: int
    order: InspectOrder
    for_s: float


class InspectEnd(Message):
    """Ends it."""

    id: int


class Inspecting(Message):
    """The place that is looked at, or why none is."""

    id: int
    place: str | None = None
    error: str | None = None


class InspectedRequest(Record):
    """The request in whose hook a place was reached."""

    method: str
    target: str
    id: str


class InspectHit(Record):
    """What was seen at a place that was reached, or only the `error` of looking."""

    error: str | None = None
    time_unix: float = 0.0
    """Seconds since 1970."""
    file: str = ""
    line: int = 0
    function: str = ""
    request: InspectedRequest | None = None
    values: dict[str, str] = {}
    """What each expression or local variable came to."""
    handler: str | None = None
    """What the handler returned."""
    lost: int = 0
    """Hits before this one that were dropped, since they arrived too fast."""


class Hit(Message):
    """The place was reached."""

    id: int
    hit: InspectHit


class TakeProfile(Message):
    """Look at the Python stacks again and again, for so long."""

    id: int
    seconds: float
    interval_s: float


class LoopHeld(Message):
    """Python code has blocked the event loop; sent once it runs again."""

    held_ms: int
    """When it was looked at."""
    where: str
    """The innermost line, as `/srv/gate.py:31`."""
    stack: str
    request_id: str


class ProfileTaken(Message):
    """What was seen comes along in a memfd (`profiling.profile`), unless there is an error."""

    id: int
    error: str | None = None
