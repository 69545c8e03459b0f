"""Which route would take a request, and why not the others: what the engine's router says, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from headgate import _core
from headgate.config.errors import ConfigError

METHOD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
LONGEST_URL = 16_384

REASONS = {
    "takes": "takes the request",
    "later": "matches, but comes later in the order of choice",
    "host": "no host matches",
    "path": "the path does not match",
    "header": "the condition on the header field `{}` does not hold",
    "query": "the condition on the query parameter `{}` does not hold",
    "method": "only {} allowed",
    "function": "its function decides; it was not called here",
}


class Verdict(NamedTuple):
    """What the router says of one route; `kind` is one of `REASONS`."""

    route: str
    kind: str
    reason: str


class RouteTest(NamedTuple):
    """What would become of a request, before hooks. The verdicts are in the order of choice."""

    status: int | None
    """400, 404 or 405 where no route takes it; None where one does, or may."""
    route: str | None
    path: str | None
    """As routes see it, in its normal form."""
    verdicts: list[Verdict]

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {**self._asdict(), "verdicts": [one._asdict() for one in self.verdicts]}


def route_test(snapshot: str, method: str, url: str, headers: Iterable[tuple[str, str]] = ()) -> RouteTest:
    """Asks the engine's router about a snapshot; raises `ConfigError` for what is not a request.

    Hooks that change the request beforehand do not run, nor do functions of routes.
    """
    if not METHOD.fullmatch(method):
        raise ConfigError(f"`{method[:64]}` is not a valid method", hint="write one such as `GET`")
    host, path, query = _parts(url)
    fields = [(name.strip().lower(), value.strip()) for name, value in headers]
    seen, told = _core.explain_route(snapshot, method, host, path, query, fields)
    verdicts = [Verdict(route, kind, REASONS[kind].format(about)) for route, kind, about in told]
    taken = next((one.route for one in verdicts if one.kind == "takes"), None)
    kinds = {one.kind for one in verdicts}
    status = 400 if seen is None else 405 if "method" in kinds else 404
    return RouteTest(None if taken or "function" in kinds else status, taken, seen, verdicts)


def _parts(url: str) -> tuple[str, str, str]:
    hint = "write `https://example.com/path?query`"
    if len(url) > LONGEST_URL or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ConfigError("the URL is not valid", hint=hint)
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # which may not be a number
    except ValueError:
        raise ConfigError(f"`{url[:200]}` is not a valid URL", hint=hint) from None
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise ConfigError(f"`{url[:200]}` is not a valid URL", hint=hint)
    return parts.netloc, parts.path or "/", parts.query
