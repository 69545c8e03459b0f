"""What tests see: responses, requests that reached a server, and what the gateway noted of each request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar


class Fields(Mapping[str, str]):
    """Header fields as received; names are case-insensitive, and the first value of a field is used."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self.raw = list(fields)
        """Names as written, and values, in order."""

    def __getitem__(self, name: str) -> str:
        for known, value in self.raw:
            if known.lower() == name.lower():
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self.raw))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        return [value for known, value in self.raw if known.lower() == name.lower()]

    def __repr__(self) -> str:
        return f"Fields({self.raw!r})"


@dataclass(frozen=True)
class Received:
    """A request as a server received it."""

    upstream: str
    server: str
    """The address as configured."""
    method: str
    target: str
    headers: Fields
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target before the `?`."""
        return self.target.partition("?")[0]

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt to send a request to a server, successful or not."""

    number: int
    upstream: str
    server: str


@dataclass
class ExchangeRecord:
    """What the gateway recorded of a completed request."""

    route: str = ""
    upstream: str | None = None
    status: int = 0
    attempts: list[AttemptRecord] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    """`request.state`, as the hooks left it."""
    is_done: bool = False


@dataclass(frozen=True)
class TestResponse:
    """A response as the client got it."""

    __test__: ClassVar = False  # tells pytest that it is not a test

    status: int
    reason: str
    headers: Fields
    body: bytes = b""
    trailers: Fields = field(default_factory=Fields)
    interim: tuple[int, ...] = ()
    """The statuses of interim responses before it."""
    record: ExchangeRecord = field(default_factory=ExchangeRecord)
    """What the gateway recorded; empty if the request was refused before routing and hooks."""

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def route(self) -> str:
        """The name of the route that took the request."""
        return self.record.route

    @property
    def attempts(self) -> list[AttemptRecord]:
        """The attempts on servers, in order."""
        return self.record.attempts
