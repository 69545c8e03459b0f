"""HTTP services that decide on requests: what plugins that ask them have in common."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator

from headgate import ConfigError, FetchError, PluginContext, Request

from ._bodies import is_told_larger
from ._clients import client_address

URL = re.compile(r"https?://[^\s/?#@\\]+(?:/[^\s#\\]*)?")
OF_A_PROXY = re.compile(r"forwarded|via|x-forwarded-.*|x-original-.*|x-real-ip|proxy-.*")
OF_THE_MESSAGE = frozenset(
    (
        *(
            "accept-encoding",
            "content-encoding",
            "content-length",
            "expect",
            "host",
            "range",
            "te",
            "trailer",
        ),
        *("connection", "keep-alive", "transfer-encoding", "upgrade", "x-request-id"),
        *("if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"),
    )
)
"""Fields that speak of the client's own message and hop, or would make a service reply with less than all."""

CREDENTIALS = frozenset(("authorization", "cookie"))
"""Fields that clients send for other routes too, so that they are not taken out of every request."""

WhenAway = Literal["open", "closed"]
"""What is done without the service."""


def _url(url: str) -> str:
    if not URL.fullmatch(url) or not has_place(url):
        raise ConfigError(f"`{url}` is not a valid URL", hint="write `http://10.0.0.9:9000/path`")
    return url


def has_place(url: str) -> bool:
    """Whether there is a host, and its port, if it has one, is from 1 to 65535."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


ServiceUrl = Annotated[str, AfterValidator(_url)]
"""An http or https URL without user and fragment."""


class Decision(NamedTuple):
    """What a service said."""

    status: int
    headers: Any
    body: bytes | None
    """None if it is too large."""


class Trouble:
    """Something that goes wrong for a while: logged when it begins and when it is over, counted each time."""

    def __init__(self, context: PluginContext, counter: str, text: str, over: str = "") -> None:
        self._log = context.log
        self._counter = context.counter(counter)
        self._text, self._over = text, over
        self._is_on = False

    def begin(self, reason: str) -> None:
        """It goes wrong."""
        self._counter.add()
        if not self._is_on:
            self._is_on = True
            self._log.error(self._text, extra={"reason": reason})

    def end(self) -> None:
        """It goes well."""
        if self._is_on:
            self._is_on = False
            if self._over:
                self._log.warning(self._over)


class Service:
    """Asks a service within a time limit; that it is away is logged once, and counted each time."""

    def __init__(self, context: PluginContext, url: str, *, timeout: float, max_body_bytes: int) -> None:
        self._context = context
        self._url = url
        self._timeout = timeout
        self._most = max_body_bytes
        self._away = Trouble(
            context, "service_failures", "the service is unavailable", "the service is available again"
        )

    async def ask(self, *, target: str = "", **options: Any) -> Decision | None:
        """What it says, with `target` behind its URL; `None` if it is away: not reached, too late, or with a status of
        500 and more.
        """
        if target and not target.startswith("/"):
            target = f"/{target}"  # such as the `*` of OPTIONS, which would be a part of the host
        try:
            async with asyncio.timeout(self._timeout):
                decision = await self._asked(self._url.rstrip("/") + target if target else self._url, options)
        except (FetchError, OSError, TimeoutError) as error:
            self._away.begin(str(error) or type(error).__name__)
            return None
        if decision.status >= 500:
            self._away.begin(f"its status is {decision.status}")
            return None
        self._away.end()
        return decision

    async def _asked(self, url: str, options: dict[str, Any]) -> Decision:
        response = await self._context.fetch(url, timeout=self._timeout, **options)
        try:
            if is_told_larger(response.headers, self._most):
                return Decision(response.status, response.headers, None)
            chunks, size = [], 0
            async for chunk in response.stream():
                chunks.append(chunk)
                size += len(chunk)
                if size > self._most:
                    return Decision(response.status, response.headers, None)
            return Decision(response.status, response.headers, b"".join(chunks))
        finally:
            response.close()


def forwarding_fields(request: Request, *, is_shared: bool = False) -> list[tuple[str, str]]:
    """What the route's server is told of the client by a request of the gateway's own, made of what the gateway knows
    and of no field that a client sent; of many clients (`is_shared`) no address.
    """
    fields = [("x-forwarded-proto", request.scheme), ("x-forwarded-host", request.host)]
    address = client_address(request.client.address)
    return fields if is_shared or address is None else [("x-forwarded-for", str(address)), *fields]


def told_fields(request: Request, names: Iterable[str] | None) -> list[tuple[str, str]]:
    """The client's fields for a service, only `names` if they are given: never those that a proxy writes."""
    wanted = None if names is None else {name.lower() for name in names}
    return [
        (name, value)
        for name, value in request.headers.items()
        if (wanted is None or name in wanted)
        and (folded := name.replace("_", "-")) not in OF_THE_MESSAGE
        and not OF_A_PROXY.fullmatch(folded)
    ]
