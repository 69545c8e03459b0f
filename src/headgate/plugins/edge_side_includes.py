"""Puts pages together from fragments: a subset of Edge Side Includes (ESI 1.0)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urljoin, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import (
    ConfigError,
    FetchError,
    FetchResponse,
    Plugin,
    PluginContext,
    Request,
    Response,
    ResponseView,
    body_mode,
)

from ._esi import BadPage, Include, Variables, parts
from ._fields import FRAMING, NAME
from ._json_bodies import Held
from ._media_types import MediaTypes, is_changeable, is_of
from ._services import OF_A_PROXY

MARK = "x-esi-fragment"
SHOWN = ("accept-language", "referer", "user-agent")
"""Fields that variables can name as a whole."""
OF_THE_TEMPLATE = (
    "etag",
    "last-modified",
    "accept-ranges",
    "content-encoding",
    "surrogate-control",
    "expires",
)


class EdgeSideIncludes(Plugin):
    """Puts pages together from fragments that `<esi:include src="..." alt="..." onerror="continue"/>` names; with
    `<esi:remove>`, `<esi:comment>`, `<!--esi ... -->` and `<esi:vars>`. Other elements of ESI stay as they are.

    A `src` without a host is a request of the same client to the gateway's own routes, with their plugins and limits;
    one with a host goes to the upstream that `hosts` has for it, and nowhere else. Fragments may include others.
    Values of variables are escaped. A page of which a part cannot be had is a 502. Pages are held until they are
    whole. Who can put text of his own into a page could have it include something: `always: false` takes only pages
    that say `Surrogate-Control: content="ESI/1.0"`, and servers should escape what they show.
    """

    order = 507

    class Config(BaseModel):
        """Settings of `edge-side-includes`."""

        model_config = ConfigDict(extra="forbid")

        always: bool = Field(
            default=False, description="Whether pages are read that do not ask for it by `Surrogate-Control`."
        )
        types: MediaTypes = Field(
            default=["text/html"], min_length=1, description="Media types of pages and fragments."
        )
        hosts: dict[str, str] = Field(
            default={}, description="Hosts that `src` may name, and the upstreams that they are."
        )
        inherit: list[str] = Field(
            default=["authorization", "cookie", "accept-language", "user-agent"],
            description="Fields of the client that fragments of the gateway's own routes are asked with.",
        )
        max_depth: int = Field(default=3, ge=1, le=8, description="How deep fragments may include others.")
        max_includes: int = Field(default=50, ge=1, le=1000, description="The most fragments of a page.")
        concurrency: int = Field(default=8, ge=1, le=100, description="The most fragments fetched at once.")
        max_body_bytes: int = Field(default=1_048_576, ge=1, description="The most bytes of a whole page.")
        timeout: float = Field(
            default=5, gt=0, description="The longest that a fragment may take, in seconds."
        )
        cache_control: str | None = Field(
            default="private, no-cache",
            description="The `Cache-Control` of pages, since that of the template says nothing of fragments; "
            "null leaves it.",
        )

        @field_validator("inherit")
        @classmethod
        def _inherit(cls, names: list[str]) -> list[str]:
            for name in names:
                folded = name.lower()
                is_ours = (
                    folded in FRAMING or folded in ("host", MARK, "range") or OF_A_PROXY.fullmatch(folded)
                )
                if is_ours or not NAME.fullmatch(name):
                    raise ConfigError(f"fragments cannot have `{name}`", hint="the gateway writes it")
            return [name.lower() for name in names]

    def setup(self, context: PluginContext) -> None:
        """Takes the mark of fragments out of what clients send."""
        context.remove_from_clients(MARK)
        self._context = context
        self._key = f"{context.name} page"
        self._included = context.counter("included")
        self._failed = context.counter("failed")

    def request(self, request: Request) -> None:
        """Tells the server what is understood here (Edge Architecture 1.0), and asks for the whole page, uncoded."""
        headers = request.headers
        headers["surrogate-capability"] = 'headgate="ESI/1.0"'
        headers["accept-encoding"] = "identity"
        for name in ("range", "if-range"):
            headers.pop(name, None)

    def response(self, request: Request, response: ResponseView) -> None:
        """Decides; what describes the template goes."""
        headers = response.headers
        if MARK in request.headers or not is_of(headers, self.config.types):
            return
        asks = "esi/1.0" in ",".join(headers.get_all("surrogate-control")).lower()
        if not (asks or self.config.always) or not is_changeable(response.status, headers):
            return
        for name in OF_THE_TEMPLATE:
            headers.pop(name, None)
        if self.config.cache_control is not None:
            headers["cache-control"] = self.config.cache_control
        vars(request.state)[self._key] = Held(self.config.max_body_bytes)

    @body_mode("stream", decode=True)
    async def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> bytes | Response | None:
        """Holds the page back until it is whole, then puts it together."""
        held: Held | None = getattr(request.state, self._key, None)
        if held is None:
            return None
        try:
            if not held.add(chunk):
                raise BadPage("the page is too large")
            if not last:
                return b""
            return await _Page(self, request).whole(held.body())
        except BadPage as error:
            del vars(request.state)[self._key]
            self._failed.add()
            self._context.log.warning("a page cannot be put together", extra={"reason": str(error)})
            return Response(502, "the page cannot be put together\n")


class _Page:
    """A page while it is put together."""

    def __init__(self, plugin: EdgeSideIncludes, request: Request) -> None:
        self._plugin = plugin
        self._config: EdgeSideIncludes.Config = plugin.config
        self._request = request
        self._left = self._config.max_includes
        self._room = self._config.max_body_bytes
        self._free = asyncio.Semaphore(self._config.concurrency)
        headers = request.headers
        self._fields = [(name, one) for name in self._config.inherit for one in headers.get_all(name)]
        fields = {f"HTTP_{name.upper().replace('-', '_')}": headers.get(name, "") for name in SHOWN}
        query = {"QUERY_STRING": dict(request.query_params), "HTTP_COOKIE": request.cookies}
        self._variables = Variables(
            {**fields, "HTTP_HOST": request.host, "QUERY_STRING": request.query}, query
        )

    async def whole(self, page: bytes) -> bytes:
        """The page with all its fragments; raises `BadPage`."""
        return await self._assembled(page, self._request.path, self._config.max_depth)

    async def _assembled(self, page: bytes, base: str, depth: int) -> bytes:
        found = parts(page, self._variables)
        includes = [one for one in found if isinstance(one, Include)]
        self._left -= len(includes)
        if self._left < 0:
            raise BadPage("the page has too many fragments")
        if includes and not depth:
            raise BadPage("the fragments include others too deep")
        self._take_room(sum(len(one) for one in found if isinstance(one, bytes)))
        tasks = await _all([self._included(one, base, depth) for one in includes])
        fragments = iter(tasks)
        return b"".join(one if isinstance(one, bytes) else next(fragments) for one in found)

    def _take_room(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise BadPage("the page is too large")

    async def _included(self, include: Include, base: str, depth: int) -> bytes:
        self._plugin._included.add()
        for source in (include.src, include.alt):
            if source is None:
                continue
            fragment = await self._fetched(base, source)
            if fragment is not None:
                body, path = fragment
                if path is None:
                    self._take_room(len(body))
                    return body
                return await self._assembled(body, path, depth - 1)
        if include.may_fail:
            return b""
        raise BadPage("a fragment cannot be had")

    async def _fetched(self, base: str, source: str) -> tuple[bytes, str | None] | None:
        """A fragment, and its path if it is of a type that may include others."""
        try:
            parsed = urlsplit(urljoin(base, source))
            if parsed.scheme not in ("", "http", "https"):
                return None
            async with self._free, asyncio.timeout(self._config.timeout):
                response = await self._asked(parsed.netloc.lower(), parsed.path or "/", parsed.query)
                if response is None:
                    return None
                try:
                    body = await response.body(max_bytes=self._config.max_body_bytes)
                finally:
                    response.close()
        except (FetchError, OSError, ValueError, TimeoutError):
            return None
        if response.status != 200:
            return None
        return body, (parsed.path or "/") if is_of(response.headers, self._config.types) else None

    async def _asked(self, host: str, path: str, query: str) -> FetchResponse | None:
        target = f"{path}?{query}" if query else path
        if not host or host == self._request.host.lower():
            fields = [*self._fields, ("accept-encoding", "identity"), (MARK, "1")]
            return await self._request.fetch(target, method="GET", headers=fields)
        upstream = self._config.hosts.get(host)
        if upstream is None:
            return None
        fields = [("host", host), ("accept-encoding", "identity")]
        return await self._plugin._context.fetch_upstream(upstream, target, method="GET", headers=fields)


async def _all(coroutines: list[Coroutine[Any, Any, bytes]]) -> list[bytes]:
    """What all of them give; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
