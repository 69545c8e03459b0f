"""What native actions there are: plain data that the engine reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from headgate._core import Passed, Period, Tally
from headgate.shared import Shared


class Action:
    """One step of what a hook does; the dataclasses below are all there are."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Native:
    """What the hooks of a plugin do, by phase; of a phase that is None the hook is called, of an empty list never."""

    request: Sequence[Action] | None = None
    response: Sequence[Action] | None = None
    rewrite: Sequence[Action] | None = None
    log: Sequence[Action] | None = None
    request_body: Sequence[Action] | None = None
    """`AskSet` alone, looked at when the body begins: a hook that is not asked then sees nothing of it."""
    response_body: Sequence[Action] | None = None
    alone: bool = False
    """Whether two plugins of this class on one request tell each other something, in `request.state`: then both run in
    Python."""


@dataclass(frozen=True)
class Part:
    """A part of the request as the value of a field, empty where it is absent: `address`, `host`, `method`, `path`,
    `query`, `target`, `scheme`, `route` or `header:NAME`."""

    name: str


@dataclass(frozen=True)
class AskIf(Action):
    """Leaves those requests to the hook for which all holds that is said."""

    kind = "ask_if"
    methods: Sequence[str] | None = None
    """The method is one of these."""
    other_methods: Sequence[str] | None = None
    """The method is none of these."""
    fields: Sequence[str] = ()
    """All these header fields are there."""


@dataclass(frozen=True)
class AskBeyond(Action):
    """Leaves those requests to the hook that have more of something than is said."""

    kind = "ask_beyond"
    target: int | None = None
    """Bytes of path and query."""
    query_params: int | None = None
    header_bytes: int | None = None
    """Bytes of all header fields, with four more for each."""
    header_fields: int | None = None
    body: int | None = None
    """Bytes of a body whose length is told."""
    require_length: bool = False
    """Whether POST, PUT and PATCH without Content-Length are left to the hook."""


@dataclass(frozen=True)
class AskSet(Action):
    """Leaves those requests to the hook for which an attribute of `request.state` is set, by an action or a hook."""

    kind = "ask_set"
    state: str


@dataclass(frozen=True)
class Sample(Action):
    """Leaves so many requests of a hundred to the hook, by chance, and sets an attribute of `request.state`."""

    kind = "sample"
    percent: float
    state: str


@dataclass(frozen=True)
class Remember(Action):
    """Lets requests pass that are in these parts as one that the hook has let pass; others are the hook's.

    Only for hooks that decide by these parts alone, and do nothing where they return None. Values longer than 256 bytes
    are not remembered, nor what an `async def` has decided after waiting.
    """

    kind = "remember"
    by: Sequence[str]
    """Names as of `Part`."""
    passed: Passed
    """Where it is remembered; `clear()` forgets all, when what the hook decides by has changed."""


@dataclass(frozen=True)
class EditFields(Action):
    """Changes header fields, of the response in phase `response`: remove, rename, set, add, default, in this order."""

    kind = "edit_fields"
    remove: Sequence[str] = ()
    """`x-debug-*` is all that begin so."""
    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)
    set: Mapping[str, str | Part] = dataclasses.field(default_factory=dict)
    add: Mapping[str, str | Part] = dataclasses.field(default_factory=dict)
    default: Mapping[str, str | Part] = dataclasses.field(default_factory=dict)
    """What is set where it is absent."""
    scheme: str | None = None
    """Only for clients that came by `http`, or `https`."""


@dataclass(frozen=True)
class CorsFields(Action):
    """Says which origin may read a response, in place of what the server said (Fetch standard)."""

    kind = "cors_fields"
    origins: Sequence[str]
    """Whole origins; `*` is all."""
    credentials: bool = False
    expose: str = ""
    """The names of the fields that scripts may read."""
    asks: bool = False
    """Whether other origins are left to the hook."""


@dataclass(frozen=True)
class SetId(Action):
    """Sets a header field of the request to a new UUID of version 7, and `request.state` for hooks."""

    kind = "set_id"
    header: str
    note: str
    """The name under which `NotedField` finds it."""
    state: str
    """The attribute of `request.state`; one that is set stays."""
    accept: bool = False
    """Whether an id of the client is kept, if it has 8 to 128 plain characters."""


@dataclass(frozen=True)
class NotedField(Action):
    """Sets a header field of the response to what an action has noted; without a note the hook is called."""

    kind = "noted_field"
    header: str
    note: str


@dataclass(frozen=True)
class KnownKey(Action):
    """Lets a request pass that has one key, and a known one: takes it out, tells whose it is. Others are the hook's."""

    kind = "known_key"
    header: str
    """The field that holds the key."""
    keys: Sequence[tuple[str, str]]
    """Hashes of keys (SHA-256, in hex) and their owners."""
    owner_header: str
    """The field that tells the server."""
    state: str
    """The attribute of `request.state` that tells hooks."""


@dataclass(frozen=True)
class Who:
    """Whom requests are counted for."""

    by: Sequence[str]
    """The address alone, or a text of parts, named as of `Part`; without one of them it is the address. `consumer` is
    who an action says that it is; where none does, requests are left to the hook."""
    ipv4_prefix: int = 32
    ipv6_prefix: int = 64


@dataclass(frozen=True)
class Rate:
    """So many requests in a window of seconds."""

    limit: int
    window: float
    clients: Shared
    """Where clients are counted."""
    refused: Shared
    """Clients in it are left to the hook."""
    depth: float | None = None
    """The depth of the bucket in seconds; None: no more than the limit in any window."""


@dataclass(frozen=True)
class Throttle(Action):
    """Counts a request at each rate, if all let it in; else at none, and it is left to the hook."""

    kind = "throttle"
    who: Who
    rates: Sequence[Rate]
    note: str | None = None
    """The name under which `RateFields` finds what is left."""


@dataclass(frozen=True)
class Count(Action):
    """Counts a request in a period of the calendar, up to the amount; others are left to the hook."""

    kind = "count"
    who: Who
    amount: int
    clients: Shared
    """Where clients are counted, under the begin of the period and their keys, in hex."""
    period: Period
    """When it is over, requests are left to the hook, which moves it on."""
    note: str
    """The name under which `RateFields` finds what is left."""


@dataclass(frozen=True)
class RateFields(Action):
    """Adds `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10) to the response."""

    kind = "rate_fields"
    note: str
    names: Sequence[str]
    """The names of the rates."""
    policy: str
    period: Period | None = None
    """A period whose length ends the policy, as `;w=` and seconds."""


@dataclass(frozen=True)
class AskFound(Action):
    """Leaves those requests to the hook that have a text or a pattern in a part, in any case, as it is or
    percent-decoded up to twice; and those whose part is not in ASCII."""

    kind = "ask_found"
    of: str
    """A name as of `Part`."""
    texts: Sequence[str] = ()
    patterns: Sequence[str] = ()
    """In the syntax of the crate `regex`, for ASCII."""


@dataclass(frozen=True)
class AskListed(Action):
    """Leaves those requests to the hook whose client is in a dictionary."""

    kind = "ask_listed"
    who: Who
    clients: Shared


@dataclass(frozen=True)
class PassOnce(Action):
    """Lets each value of a field pass once for each consumer, if another field tells a time near now; others are the
    hook's."""

    kind = "pass_once"
    value: str
    """The field with the value: 8 to 200 visible characters."""
    time: str
    """The field with the seconds since 1970."""
    skew: int
    """How many seconds that may be from now; a value is known for twice as long."""
    seen: Shared
    """Where values are known: the first 16 bytes of the SHA-256 of the consumer, a zero byte and the value."""
    reserve: int
    """With fewer free bytes there, requests are left to the hook."""


@dataclass(frozen=True)
class SignedTarget(Action):
    """Lets a request pass whose target was signed and has not expired, and takes both parameters out; others are the
    hook's.

    Signed is the method (GET for HEAD), a line feed, and the target up to the signature, which comes last in it
    (HMAC-SHA-256, in hex).
    """

    kind = "signed_target"
    keys: Sequence[str] = dataclasses.field(repr=False)
    """In hex; each is good."""
    expires: str
    """The parameter with the end, in seconds since 1970."""
    signature: str
    """The parameter with the signature."""
    longest: int | None = None
    """The most seconds that may be left."""


@dataclass(frozen=True)
class TakeSlot(Action):
    """Takes a slot for as long as the request runs, if its client has one left; else it is left to the hook."""

    kind = "take_slot"
    who: Who
    limit: int
    """Slots of a client, over all workers."""
    lease: float
    """Seconds that counts and workers live unless the plugin renews them."""
    slots: Shared
    """Where each worker counts, under the client's key, a zero byte and its process id."""
    workers: Shared
    """Where workers are named by their process ids."""
    note: str
    """The name under which `EndNoted` finds the slot."""


@dataclass(frozen=True)
class SetState(Action):
    """Sets an attribute of `request.state` to a part of the request, as it is now."""

    kind = "set_state"
    state: str
    of: str
    """A name as of `Part`."""


@dataclass(frozen=True)
class Mark(Action):
    """Notes that the hook was not called, as the last of its actions: `EndNoted` then lets the `log` hook be."""

    kind = "mark"
    note: str


@dataclass(frozen=True)
class EndNoted(Action):
    """For `log`: ends what an action has noted, a mark or a slot; without the note the hook is called."""

    kind = "end_noted"
    note: str


@dataclass(frozen=True)
class TallyCall(Action):
    """For `log`: counts the request by the shape of its target, its method and its response; left to the hook where
    there is no room."""

    kind = "tally_call"
    tally: Tally
    target: str
    """The attribute of `request.state` with the target, of a `SetState`."""
    credentials: Sequence[str]
    """Header fields that are credentials; consumers that actions tell are, too."""
    except_status: Sequence[int] = ()
    """Responses that are not counted."""


@dataclass(frozen=True)
class WantedCoding(Action):
    """Notes which content coding the client wants (RFC 9110 section 12.5.3), or that it is none of these."""

    kind = "wanted_coding"
    codings: Sequence[str]
    """The first is preferred."""
    note: str
    """The name under which `CodedResponse` finds it."""
    cross_site: bool = False
    """Whether requests with cookies that other sites make want one, too: see `compression`."""


@dataclass(frozen=True)
class CodedResponse(Action):
    """Says in a response that its body is coded, if it may be: `Content-Encoding`, `Vary`, a weak `ETag`."""

    kind = "coded_response"
    codings: Sequence[str]
    """Those of the `WantedCoding`, without whose note the hook is called."""
    types: Sequence[str]
    """Media types: `text/html`, `text/*` or `*`."""
    min_length: int
    """The fewest bytes of a body whose length is told."""
    note: str
    state: str
    """The attribute of `request.state` that then has the name of the coding, for the hook of the body."""
