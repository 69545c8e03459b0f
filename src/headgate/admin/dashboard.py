"""The dashboard's page and what it loads: files of this package, the same for everybody, which hold no data.

How it works: a browser cannot send a token with its first request, so these need none; all that the page shows comes
from `/v1`, which does. The page may load nothing from elsewhere, run nothing that is not a file of ours, be in nobody's
frame, and make no markup of text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .access import Access
from .problems import Refusal

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'"),
        *("connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
        *("require-trusted-types-for 'script'", "trusted-types 'none'"),
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
PAGE = "index.html"


def dashboard_routes(access: Access) -> Iterator[Route]:
    """`/` and `/dashboard/{file}`."""
    for file in (resources.files("headgate.admin") / "page").iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in TYPES:
            path = "/" if file.name == PAGE else f"/dashboard/{file.name}"
            yield Route(path, _File(access, file.read_bytes(), TYPES[suffix]).respond, methods=["GET"])


class _File:
    """A file, in memory."""

    def __init__(self, access: Access, content: bytes, type: str) -> None:
        self._access, self._content = access, content
        self._headers = {
            **HEADERS,
            "content-type": type,
            "etag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        }

    async def respond(self, request: Request) -> Response:
        """The file, for those who ask this API by its name."""
        try:
            self._access.check_page(request)
        except Refusal as refusal:
            return refusal.response()
        if request.headers.get("if-none-match") == self._headers["etag"]:
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers)
