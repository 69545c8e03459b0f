"""Follows redirects of servers here, so that clients do not see them."""

from __future__ import annotations

import asyncio
import re
from typing import Any, NamedTuple
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
)

from ._bodies import has_content, is_told_larger
from ._fields import FRAMING
from ._services import OF_A_PROXY, forwarding_fields, has_place

REDIRECTS = (301, 302, 303, 307, 308)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ORIGIN = re.compile(r"https?://[^\s/?#@\\]+")
REFERENCE = re.compile(r"[!#-;=?-\[\]_a-z~]+")
"""What a URL may hold (RFC 3986 section 2)."""
ACROSS_HOSTS = ("accept", "accept-language", "accept-encoding", "user-agent")
"""What another host is told: nothing that could be a credential."""
OF_THE_BODY = (
    "content-type",
    "content-encoding",
    "content-language",
    "content-length",
    "digest",
    "content-digest",
)
KEPT_FROM_CLIENTS = frozenset((*FRAMING, "proxy-authenticate", "alt-svc"))


class Place(NamedTuple):
    """Where the next request goes."""

    url: str
    """Whole."""
    is_own: bool
    """Whether the route's own upstream has it."""


class FollowRedirects(Plugin):
    """Follows redirects of the route's servers and gives the client what is at their end.

    It follows to the same host, by the route's upstream, and to the origins in `allow`; other redirects go to the
    client. Another origin is told neither credentials nor cookies nor the consumer, and none is asked without TLS
    after one with it. 303 is followed by GET, and so is a POST after 301 and 302; 307 and 308 keep the method and the
    body (RFC 9110 section 15.4), of at most `max_body_bytes`. Cookies that the same host sets on the way reach the
    client. More than `max_redirects`, and a server that is away, are a 502. Routes need an upstream with a name.
    """

    order = 460
    acts = True

    class Config(BaseModel):
        """Settings of `follow-redirects`."""

        model_config = ConfigDict(extra="forbid")

        allow: list[str] = Field(
            default=[], description="Other origins that may be asked: `https://cdn.example.com`."
        )
        max_redirects: int = Field(default=5, ge=1, le=20, description="The most redirects of a request.")
        methods: list[str] = Field(
            default=["GET", "HEAD"],
            min_length=1,
            description="Requests whose redirects are followed; bodies of others than these are held back.",
        )
        max_body_bytes: int = Field(
            default=65_536, ge=0, description="The most bytes of a body that is sent again."
        )
        timeout: float = Field(default=30, gt=0, description="The longest that all may take, in seconds.")

        @field_validator("allow")
        @classmethod
        def _allow(cls, origins: list[str]) -> list[str]:
            for one in origins:
                if not ORIGIN.fullmatch(one.rstrip("/")) or not has_place(one):
                    raise ConfigError(
                        f"`{one}` is not a valid origin", hint="write `https://cdn.example.com`"
                    )
            return [_origin(one) for one in origins]

        @field_validator("methods")
        @classmethod
        def _methods(cls, methods: list[str]) -> list[str]:
            for one in methods:
                if one not in METHODS:
                    raise ConfigError(
                        f"`{one}` is not a method of those", hint=f"one of {', '.join(METHODS)}"
                    )
            return methods

    def setup(self, context: PluginContext) -> None:
        """Makes the counters."""
        self._context = context
        self._key = f"{context.name} body"
        self._followed = context.counter("followed")
        self._failed = context.counter("failed")

    async def request(self, request: Request) -> None:
        """Keeps a body that may have to be sent again."""
        if request.method not in self.config.methods:
            return
        if request.method in ("GET", "HEAD"):
            vars(request.state)[self._key] = None if await has_content(request) else b""
            return
        most, chunks, size = self.config.max_body_bytes, [], 0
        if is_told_larger(request.headers, most):
            return
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                return
            chunks.append(chunk)
        vars(request.state)[self._key] = b"".join(chunks)

    async def response(self, request: Request, response: ResponseView) -> Response | None:
        """Follows, if the response is a redirect to where it may be followed."""
        upstream = request.upstream
        if response.status not in REDIRECTS or request.method not in self.config.methods or upstream is None:
            return None
        here = Place(f"{request.scheme}://{request.host}{request.target}", is_own=True)
        chain = _Chain(self, request, upstream)
        try:
            async with asyncio.timeout(self.config.timeout):
                found = await chain.end(here, response.status, response.headers)
        except (FetchError, OSError, TimeoutError, ValueError) as error:
            self._failed.add()
            self._context.log.warning("a redirect cannot be followed", extra={"reason": type(error).__name__})
            return Response(502, "a redirect cannot be followed\n")
        if found is None:
            return None
        kept = [
            (name, value)
            for name, value in found.headers.items()
            if name not in KEPT_FROM_CLIENTS and (name != "set-cookie" or chain.is_at_home)
        ]
        fields = [*(("set-cookie", one) for one in chain.cookies), *kept]
        if request.method == "HEAD":
            found.close()
            return Response(found.status, headers=fields)
        return Response.stream(found.stream(), found.status, headers=fields)

    def _place(self, here: Place, home: str, headers: Any) -> Place | None:
        """Where a redirect leads, if that may be followed."""
        locations = headers.get_all("location")
        if len(locations) != 1:
            return None
        location = locations[0].strip()
        if not REFERENCE.fullmatch(location):
            return None  # others may read it in another way
        try:
            url = urljoin(here.url, location).partition("#")[0]
            if not ORIGIN.match(url) or not has_place(url):
                return None
            origin = _origin(url)
        except (ValueError, KeyError):
            return None
        if here.url.startswith("https:") and origin.startswith("http:"):
            return None
        if origin == home:
            return Place(url, is_own=True)
        return Place(url, is_own=False) if origin in self.config.allow else None


class _Chain:
    """The redirects of one request."""

    def __init__(self, plugin: FollowRedirects, request: Request, upstream: str) -> None:
        self._plugin = plugin
        self._request = request
        self._upstream = upstream
        self._method = request.method
        self._body: bytes | None = getattr(request.state, plugin._key, None)
        """None where it cannot be sent again."""
        self.cookies: list[str] = []
        self.is_at_home = True

    async def end(self, here: Place, status: int, headers: Any) -> FetchResponse | None:
        """What is at the end, none if the first redirect is not followed; raises what a fetch raises."""
        config, home = self._plugin.config, _origin(here.url)
        found: FetchResponse | None = None
        for _ in range(config.max_redirects):
            place = self._plugin._place(here, home, headers)
            if place is None or not self._takes(status):
                return found
            if self.is_at_home:
                self.cookies += headers.get_all("set-cookie")
            if found is not None:
                found.close()
            self._plugin._followed.add()
            found = await self._asked(place)
            self.is_at_home = self.is_at_home and place.is_own
            if found.status not in REDIRECTS:
                return found
            here, status, headers = place, found.status, found.headers
        if found is not None:
            found.close()
        raise ValueError("too many redirects")

    def _takes(self, status: int) -> bool:
        """Sets the method of the next request; false if that needs a body which is not here."""
        becomes_get = status == 303 or (status in (301, 302) and self._method == "POST")
        if becomes_get:
            if self._method != "HEAD":
                self._method = "GET"
            self._body = b""
            return True
        return self._body is not None

    async def _asked(self, place: Place) -> FetchResponse:
        context, headers = self._plugin._context, self._request.headers
        body = None if self._method in ("GET", "HEAD") else self._body
        is_home = place.is_own and self.is_at_home
        hidden = FRAMING if body is not None else (*FRAMING, *OF_THE_BODY)
        fields = [
            (name, value)
            for name, value in headers.items()
            if name != "host"
            and (name not in hidden and not OF_A_PROXY.fullmatch(name) if is_home else name in ACROSS_HOSTS)
        ]
        if is_home:
            fields += forwarding_fields(self._request)
        elif body is not None:
            fields += [
                (name, headers[name]) for name in ("content-type", "content-encoding") if name in headers
            ]
        if place.is_own:
            parts = urlsplit(place.url)
            target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
            fields.append(("host", self._request.host))
            return await context.fetch_upstream(
                self._upstream, target, method=self._method, headers=fields, body=body
            )
        return await context.fetch(place.url, method=self._method, headers=fields, body=body)


def _origin(url: str) -> str:
    """Scheme, host and port, with the port that the scheme has."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme.lower()]
    return f"{parts.scheme.lower()}://{(parts.hostname or '').lower().rstrip('.')}:{port}"
