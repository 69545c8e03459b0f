"""What the Admin API wants of the node that it is mounted on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from headgate.config.errors import ConfigError
from headgate.config.errors import Path as ConfigPath
from headgate.control.commands import Status
from headgate.control.inspection_messages import InspectOrder
from headgate.stores import Document, Snapshot, Store, Transaction

Decide = Callable[[Snapshot], Transaction]
"""What is to be written, given what the store holds."""


class Written(Protocol):
    """What became of a write."""

    @property
    def snapshot(self) -> Snapshot:
        """The store after it."""

    @property
    def generation(self) -> int | None:
        """In which it is in force; None where nothing changed."""


class NotApplied(Protocol):
    """Why a revision of the store is not in force."""

    @property
    def number(self) -> int:
        """The revision."""

    @property
    def reason(self) -> str:
        """For the operator."""


class Merged(Protocol):
    """The file and the resources, together."""

    left_out: list[str]
    """Resources that the file defines itself, as `routes/NAME`."""
    awaiting: dict[str, str]
    """Routes of the file that respond with 503 until the store has a resource, and its name."""

    @property
    def gateway(self) -> Any:
        """Both of them, merged."""

    def check_against(self, awaiting: Mapping[str, str]) -> None:
        """Raises `ConfigError` if routes of the file would miss what they have in `before`."""

    def resource_at(self, path: ConfigPath) -> tuple[str, str] | None:
        """The resource that a path of the merged model leads to."""


class Base(Protocol):
    """The file."""

    def merged(self, documents: dict[str, dict[str, Document]]) -> Merged:
        """The file with documents by kind and name; raises `ConfigError`."""

    def parsed(self, kind: str, name: str, document: Document) -> Any:
        """One document as its model; raises `ConfigError`."""


class Built(Protocol):
    """A snapshot, merged with the file."""

    @property
    def snapshot(self) -> Snapshot:
        """Of the store."""

    @property
    def left_out(self) -> list[str]:
        """What the file has itself, as `routes/NAME`."""

    @property
    def awaiting(self) -> dict[str, str]:
        """Routes of the file that miss a resource, and which."""

    @property
    def merged(self) -> Merged:
        """With the file."""


class Recent(Protocol):
    """The newest requests."""

    @property
    def newest(self) -> int:
        """The number of the last one."""

    @property
    def lost(self) -> int:
        """How many could not be read in time, in all."""

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Lines of the `json` access log."""


class Taken(Protocol):
    """A profile of the workers' Python code, or why there is none."""

    @property
    def error(self) -> str | None:
        """Why not."""

    @property
    def profile(self) -> dict[str, Any]:
        """See `headgate.profiling.profile.Profile.plain`."""

    @property
    def workers(self) -> int:
        """Workers that it is of."""

    @property
    def missing(self) -> int:
        """Workers that did not respond in time."""


class Breakpoint(Protocol):
    """One that was set."""

    number: int
    order: InspectOrder
    place: str
    """Where it is, as the workers have found it."""
    newest: int
    """The number of the last hit."""
    ended: str | None
    """What ended it."""

    @property
    def hits(self) -> Collection[dict[str, Any]]:
        """What was seen, the newest last, each with its `number`."""


class Breakpoints(Protocol):
    """All that callers have set."""

    def all(self) -> Sequence[Breakpoint]:
        """Those that are known."""

    def find(self, number: int) -> Breakpoint | None:
        """One of them."""

    async def begin(self, order: InspectOrder, for_s: float) -> Breakpoint:
        """Sets one; raises `CannotLook`."""

    def remove(self, number: int) -> bool:
        """Takes one off."""


class Node(Protocol):
    """The store, what is in force, and the way from one to the other."""

    store: Store
    newest: Snapshot

    @property
    def in_force(self) -> Built:
        """What the workers serve."""

    @property
    def not_applied(self) -> NotApplied | None:
        """What the store holds and the workers cannot serve."""

    @property
    def base(self) -> Base:
        """The file."""

    async def status(self) -> Status:
        """What runs."""

    async def metrics(self) -> tuple[str, float]:
        """What is counted: the JSON of `headgate.control.commands.MetricsReply`, and the CPU seconds that it took."""

    async def profile(self, seconds: float, interval_s: float) -> Taken:
        """A profile of the workers' Python code, taken now."""

    @property
    def breakpoints(self) -> Breakpoints:
        """In running code."""

    def recent(self, after: int) -> Recent:
        """Requests since the one with that number, as far as they are kept; read from the first call on."""

    async def write(
        self, decide: Decide, *, is_trial: bool = False, written: Callable[[Snapshot], None] = ...
    ) -> Written:
        """Writes, calls `written` when it is in the store, and has it applied in every worker.

        Raises what is wrong with it.
        """


__all__ = ["Base", "Breakpoint", "Built", "ConfigError", "Decide", "Merged", "Node", "NotApplied", "Written"]
