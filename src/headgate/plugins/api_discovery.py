"""Learns from traffic which paths an API has, and writes them as a document of OpenAPI.

How it works: requests are only counted, by what tells them apart. A timer looks at what was counted, infers parameters,
and tells the worker of the node that writes the file.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, ResponseView
from headgate.native import Native, SetState, Tally, TallyCall

from ._discovered import LITERAL, MOST_NAMES, Seen, Tree, kind_of, value_kind
from ._discovered_document import document, restore
from ._openapi import Document

IN_A_TURN = 50
"""Calls that are looked at and told at once: the loop goes on meanwhile, and many long paths make no report too large
for the table."""
CREDENTIALS = ("authorization", "cookie", "x-api-key")
OPEN_ERRORS = (404, 405, 410, 501)
"""Statuses of what is not there."""
Key = tuple[str, str]
Call = tuple[str, str, int, str, str, bool, int, int, int]
"""As `Tally.take` gives it."""


class ApiDiscovery(Plugin):
    """Watches requests and writes the endpoints that they show: an OpenAPI 3.1 document with inferred parameters.

    A segment that looks like a number, a UUID, a date or a token is a parameter, and so is a place with more than
    `distinct` names. Endpoints come into being by responses below 400, so that scanners add none. Values are never
    kept: neither those of parameters nor bodies. With `openapi`, endpoints that this document does not have are logged
    once each and counted (`unknown`), and its operations that nobody uses are listed as `x-headgate-unused`. How often
    and when each was called, and how often without credentials, stands in `x-headgate`. One worker of a node writes
    the file, and goes on with it after a restart.
    """

    order = -790

    class Config(BaseModel):
        """Settings of `api-discovery`."""

        model_config = ConfigDict(extra="forbid")

        file: Path = Field(description="The document that is written, JSON; its folder has to be there.")
        openapi: str | None = Field(
            default=None, description="A document of OpenAPI 3.0 or 3.1 with the endpoints that are known."
        )
        title: str = Field(default="Discovered API", max_length=200, description="The document's title.")
        interval: float = Field(default=30, ge=0.01, description="Seconds between two writings of the file.")
        max_endpoints: int = Field(
            default=2000, ge=1, le=100_000, description="The most endpoints; what is beyond them is counted."
        )
        distinct: int = Field(
            default=50, ge=2, le=10_000, description="More names than this in one place are a parameter."
        )
        memory: str = Field(default="4m", description="The size of the table between workers.")

        @field_validator("file")
        @classmethod
        def _file(cls, file: Path) -> Path:
            if not os.path.isdir(file.parent):  # also for names that cannot be
                raise ConfigError(f"the folder `{file.parent}` does not exist", hint="create it")
            return file

    def setup(self, context: PluginContext) -> None:
        """Reads the document of what is known, and prepares the table."""
        config = self.config
        self._context = context
        self._key = f"{context.name} path"
        self._known = Document(config.openapi) if config.openapi else None
        self._tally = Tally()
        self._tree: Tree | None = None
        self._told: set[Key] = set()
        self._table = context.shared("seen", config.memory)
        self._unknown, self._dropped = context.counter("unknown"), context.counter("dropped")
        context.every(min(config.interval / 3, 10), self._report)
        context.every(config.interval, self._write, once_per="node")

    def native(self) -> Native:
        """All that there is room for."""
        count = TallyCall(self._tally, self._key, CREDENTIALS, OPEN_ERRORS)
        return Native(request=[SetState(self._key, "target")], log=[count])

    def request(self, request: Request) -> None:
        """Notes the target as it came, before anything rewrites it."""
        vars(request.state)[self._key] = request.target

    def log(self, request: Request, response: ResponseView | None) -> None:
        """Counts what came of it."""
        target = vars(request.state).get(self._key)
        if target is None or response is None or response.status in OPEN_ERRORS:
            return
        headers = request.headers
        has_credentials = any(name in headers for name in CREDENTIALS) or hasattr(request.state, "consumer")
        types = headers.get("content-type"), response.headers.get("content-type")
        if not self._tally.add(target, request.method, response.status, *types, not has_credentials):
            self._dropped.add()

    def shutdown(self) -> None:
        """Passes on what is left."""
        for calls in self._taken():
            self._tell(self._inferred(calls))

    async def _report(self) -> None:
        """Looks at what was counted, a little at a time, and tells the worker that writes the file."""
        for calls in self._taken():
            self._tell(self._inferred(calls))
            await asyncio.sleep(0)

    def _taken(self) -> Iterator[list[Call]]:
        taken = self._tally.take()
        return (taken[at : at + IN_A_TURN] for at in range(0, len(taken), IN_A_TURN))

    def _inferred(self, calls: list[Call]) -> dict[Key, Seen]:
        found: dict[Key, Seen] = {}
        for target, method, status, body, kind, is_anonymous, count, first, last in calls:
            path, _, query = target.partition("?")
            shape = _shape(path)
            if shape is None:
                self._dropped.add(count)
                continue
            key = (shape, method.lower())
            seen = found.get(key)
            if seen is None:
                seen = found[key] = Seen()
                if self._known is not None:
                    seen.documented = self._known.named(path, method) or ""
            seen.add(_seen(query, status, body, kind, is_anonymous, count, first, last))
        return found

    def _tell(self, found: dict[Key, Seen]) -> None:
        if not found:
            return
        told = [[*key, _packed(seen)] for key, seen in found.items()]
        try:
            self._table.rpush("seen", json.dumps(told))
        except (ValueError, MemoryError):  # there is no room for it
            self._dropped.add(len(told))

    async def _write(self) -> None:
        """Takes in what all workers have told, and writes the file if there is something new."""
        if self._tree is None:
            self._tree = await self._context.run_in_thread(self._begun)
        has_news = False
        while (told := self._table.lpop("seen")) is not None:
            has_news = True
            for shape, method, packed in json.loads(told):
                self._take(self._tree, shape, method, _unpacked(packed))
        if has_news:
            made = document(self._tree, self.config.title)
            if self._known is not None:
                made["x-headgate-unused"] = _unused(self._tree, self._known)
            await self._context.run_in_thread(self._replace, json.dumps(made, indent=1))

    def _take(self, tree: Tree, shape: str, method: str, seen: Seen) -> None:
        creates = any(status < "400" for status in seen.statuses)
        if tree.add(shape, method, seen, creates=creates) is None:
            if creates:
                self._dropped.add()
            return
        is_unknown = self._known is not None and not seen.documented and creates
        is_told = (shape, method) in self._told or len(self._told) >= self.config.max_endpoints
        if is_unknown and not is_told:
            self._told.add((shape, method))
            self._unknown.add()
            self._context.log.warning(
                "an endpoint is not in the document",
                extra={"method": method.upper(), "path": self._context.masked(shape)},
            )

    def _begun(self) -> Tree:
        """The tree as the file has it."""
        tree = Tree(self.config.max_endpoints, self.config.distinct)
        try:
            restore(tree, json.loads(self.config.file.read_text()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._context.log.error(
                "the document cannot be read, it begins anew", extra={"reason": repr(error)}
            )
            tree = Tree(self.config.max_endpoints, self.config.distinct)
        return tree

    def _replace(self, text: str) -> None:
        file = self.config.file
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as opened:
                opened.write(text)
            beside.replace(file)
        except OSError as error:
            self._context.log.error("the document cannot be written", extra={"reason": str(error)})


def _shape(path: str) -> str | None:
    """The path with what looks like values in braces: `/users/{integer}`; none for one that is not a path."""
    if not path.startswith("/"):
        return None
    parts = [f"{{{kind}}}" if (kind := kind_of(part)) else part for part in path.split("/")]
    return "/".join(parts)


def _seen(
    query: str, status: int, body: str, kind: str, is_anonymous: bool, count: int, first: int, last: int
) -> Seen:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_NAMES) if query else []
    except ValueError:
        pairs = []
    named = {name: value_kind(value) for name, value in pairs if LITERAL.fullmatch(name)}
    body, kind = _type(body), _type(kind)
    return Seen(
        count,
        count if is_anonymous else 0,
        first,
        last,
        "",
        named,
        {body} if body else set(),
        {str(status): {kind} if kind else set()},
    )


def _type(name: str) -> str:
    """The media type, if it is one."""
    major, slash, minor = name.partition("/")
    return name if slash and LITERAL.fullmatch(major) and LITERAL.fullmatch(minor) else ""


def _packed(seen: Seen) -> list[Any]:
    statuses = {status: sorted(types) for status, types in seen.statuses.items()}
    numbers = [seen.calls, seen.anonymous, seen.first, seen.last, seen.documented]
    return [*numbers, seen.query, sorted(seen.bodies), statuses]


def _unpacked(packed: list[Any]) -> Seen:
    calls, anonymous, first, last, documented, query, bodies, statuses = packed
    found = {status: set(types) for status, types in statuses.items()}
    return Seen(calls, anonymous, first, last, documented, query, set(bodies), found)


def _unused(tree: Tree, known: Document) -> list[str]:
    used = {(seen.documented, method.upper()) for _, _, method, seen in tree.endpoints()}
    return sorted(f"{method} {path}" for path, method in known.operations() if (path, method) not in used)
