"""Changes elements of pages that CSS selectors choose."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from headgate import Plugin, PluginContext, Request, Response, ResponseView, body_mode

from ._bodies import BadBody
from ._html import Rule, rewritten
from ._json_bodies import OF_THE_OLD_BODY, Held
from ._media_types import checked_types, is_changeable, is_of
from ._processes import InProcess, computed

CHARSET = re.compile(r"charset\s*=\s*\"?([^\s;\"]*)")
UTF8 = ("", "utf-8", "utf8", "us-ascii")


class HtmlRewrite(Plugin):
    """Changes elements of pages that CSS selectors choose: their attributes and content, what stands around them, and
    whether they are there. Pages are read as browsers read them.

    A page is held back until it is whole, and changed in a job process, which is killed past `timeout` or
    `max_memory_bytes`: some markup takes a parser very long. For texts in pages of any length, as they stream, use
    `sub-filter`. A page without any of the elements stays as it was, byte for byte; a changed one is written anew, with
    the same meaning. Pages with `no-transform` stay as they are. Needs `pip install 'headgate[plugins]'`.
    """

    order = 506

    class Config(InProcess):
        """Settings of `html-rewrite`."""

        rules: list[Rule] = Field(min_length=1, max_length=100, description="Elements and their changes.")
        types: list[str] = Field(default=["text/html"], min_length=1, description="Media types of pages.")
        max_body_bytes: int = Field(
            default=1_048_576, ge=1, description="The most bytes of a page, decoded, before and after."
        )
        otherwise: Literal["refuse", "pass"] = Field(
            default="refuse",
            description="What becomes of pages that cannot be changed (too large, too much work, not UTF-8): a 502, "
            "or they go on as they are.",
        )

        @field_validator("types")
        @classmethod
        def _types(cls, types: list[str]) -> list[str]:
            return checked_types(types)

    def setup(self, context: PluginContext) -> None:
        """Makes the counter."""
        self._context = context
        self._key = f"{context.name} page"
        self._failed = context.counter("failed")

    def request(self, request: Request) -> None:
        """Asks for the whole page, uncoded."""
        for name in ("range", "if-range"):
            request.headers.pop(name, None)
        request.headers["accept-encoding"] = "identity"

    def response(self, request: Request, response: ResponseView) -> None:
        """Notes pages; what describes the old body goes."""
        headers = response.headers
        if not is_of(headers, self.config.types) or not is_changeable(response.status, headers):
            return
        charset = CHARSET.search(headers.get("content-type", "").lower().partition(";")[2])
        is_utf8 = charset is None or charset[1] in UTF8
        if not is_utf8 and self.config.otherwise == "pass":
            return
        for name in OF_THE_OLD_BODY:
            headers.pop(name, None)
        vars(request.state)[self._key] = Held(self.config.max_body_bytes if is_utf8 else -1)

    @body_mode("stream", decode=True)
    async def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> bytes | Response | None:
        """Holds the page back until it is whole, then changes it."""
        held: Held | None = getattr(request.state, self._key, None)
        if held is None:
            return None
        try:
            if not held.add(chunk):
                raise BadBody("the page is too large, or not UTF-8")
            if not last:
                return b""
            body = held.body(keeps=True)
            return await self._changed(body) if body else b""
        except BadBody as error:
            del vars(request.state)[self._key]
            self._failed.add()
            self._context.log.warning("a page is not changed", extra={"reason": str(error)})
            if self.config.otherwise == "pass":
                return held.body()
            return Response(502, "the page of the server is not what was expected\n")

    async def _changed(self, body: bytes) -> bytes:
        config = self.config
        return await computed(
            self._context,
            rewritten,
            config.rules,
            body,
            config.max_body_bytes,
            config.timeout,
            config.max_memory_bytes,
        )
