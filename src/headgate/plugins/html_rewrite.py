"""Changes elements of pages that CSS selectors choose, while the pages stream."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from headgate import (
    HtmlRewriter,
    HtmlRules,
    Plugin,
    PluginContext,
    Request,
    Response,
    ResponseView,
    body_mode,
)

from ._html import Rule
from ._media_types import OF_THE_OLD_BODY, MediaTypes, charset_of, is_changeable, is_of

REFUSED = "the page of the server is not what was expected\n"


class HtmlRewrite(Plugin):
    """Changes elements of pages that CSS selectors choose: their attributes and content, what stands around them, and
    whether they are there. Pages of any length stream through, and stay byte for byte as they were elsewhere.

    All rules see the page as the server sent it, not what others put in. There is no tree: an element ends at its own
    end tag or at that of an element around it, so one without an end tag (`<p>`, `<li>`) gets no `append` and `after`.
    Codings are undone and made anew (gzip, deflate, br, zstd). `Range` does not reach the server, and a page has no
    `ETag`, `Last-Modified` and `Accept-Ranges`. Parts (206) and pages with `no-transform` stay as they are.
    """

    order = 506

    class Config(BaseModel):
        """Settings of `html-rewrite`."""

        model_config = ConfigDict(extra="forbid")

        rules: list[Rule] = Field(min_length=1, max_length=100, description="Elements and their changes.")
        types: MediaTypes = Field(default=["text/html"], min_length=1, description="Media types of pages.")
        max_memory_bytes: int = Field(
            default=1_048_576,
            ge=65_536,
            le=1 << 30,
            description="About the most memory that a page may take: tags that are not complete and elements that "
            "are open, as much again for what waits for end tags, and for what 64 KB of the page become.",
        )
        otherwise: Literal["pass", "refuse"] = Field(
            default="pass",
            description="What becomes of a page that cannot be changed (too much memory, an encoding without ASCII "
            "such as UTF-16): its rest goes on as it is, or it is a 502, or cut off where some of it was sent. "
            "`refuse` also refuses markup that browsers may read in two ways.",
        )

    def setup(self, context: PluginContext) -> None:
        """Makes the rules and the counter."""
        self._context = context
        self._rules = HtmlRules([rule.told() for rule in self.config.rules])
        self._key = f"{context.name} page"
        self._failed = context.counter("failed")
        self._has_logged_charset = False

    def request(self, request: Request) -> None:
        """Asks for the whole page."""
        for name in ("range", "if-range"):
            request.headers.pop(name, None)

    def response(self, request: Request, response: ResponseView) -> Response | None:
        """Begins a page; what describes the old one goes."""
        headers, passes = response.headers, self.config.otherwise == "pass"
        if not is_of(headers, self.config.types) or not is_changeable(response.status, headers):
            return None
        charset = charset_of(headers)
        rewriter = self._rules.rewriter(
            charset=charset, max_memory_bytes=self.config.max_memory_bytes, passes=passes
        )
        if rewriter is None:
            self._failed.add()
            if not self._has_logged_charset:
                self._has_logged_charset = True
                self._context.log.warning(
                    "pages of this charset are not changed", extra={"charset": str(charset)[:100]}
                )
            return None if passes else Response(502, REFUSED)
        for name in OF_THE_OLD_BODY:
            headers.pop(name, None)
        vars(request.state)[self._key] = rewriter
        return None

    @body_mode("stream", decode=True)
    def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> bytes | Response | None:
        """Changes what is complete, and holds an unfinished tag back."""
        rewriter: HtmlRewriter | None = getattr(request.state, self._key, None)
        if rewriter is None:
            return None
        had_failed = rewriter.failure is not None
        try:
            made = rewriter.write(chunk)
            if last:
                made += rewriter.end()
        except ValueError as error:
            self._give_up(str(error))
            return Response(502, REFUSED)
        if not had_failed and rewriter.failure is not None:
            self._give_up(rewriter.failure)
        return made

    def _give_up(self, reason: str) -> None:
        self._failed.add()
        self._context.log.warning("a page is not changed from some place on", extra={"reason": reason})
