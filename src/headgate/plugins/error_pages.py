"""Pages for errors, by status and by what the client would rather read."""

from __future__ import annotations

import html
import json
import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Failure, Plugin, PluginContext, Request, Response

from ._media_types import weight
from ._texts import text_of

STATUS = re.compile("[45]([0-9]{2}|xx)")
PLACE = re.compile(r"\{(status|message|id)\}")


class Page(BaseModel):
    """The texts of an error; `{status}`, `{message}` and `{id}` (of the request) are filled in, escaped."""

    model_config = ConfigDict(extra="forbid")

    html: str | None = Field(default=None, description="The page, or `file:` and the name of its file.")
    json_: str | None = Field(default=None, alias="json", description="JSON, or `file:` and a name.")
    text: str | None = Field(default=None, description="Plain text, or `file:` and a name.")


class ErrorPages(Plugin):
    """Replies to the gateway's own errors (no route, no server, too late, too large) with pages of one's own.

    The page is that of the status, `404`, or of its class, `5xx`. Of its kinds the one that `Accept` prefers is sent,
    if it says nothing the first of html, json, text. What servers reply stays: see `response-rewrite`.
    """

    order = 550

    class Config(BaseModel):
        """Settings of `error-pages`."""

        model_config = ConfigDict(extra="forbid")

        pages: dict[str, Page] = Field(min_length=1, description="Pages by status (`404`) or class (`5xx`).")

        @field_validator("pages")
        @classmethod
        def _pages(cls, pages: dict[str, Page]) -> dict[str, Page]:
            for status, page in pages.items():
                if not STATUS.fullmatch(status):
                    raise ConfigError(f"`{status}` is not a status of errors", hint="write `404` or `5xx`")
                if not (page.html or page.json_ or page.text):
                    raise ConfigError(
                        f"the page of `{status}` has no text", hint="write `html`, `json` or `text`"
                    )
            return pages

    def setup(self, context: PluginContext) -> None:
        """Reads the files."""
        self._pages = {
            status: [
                (kind, text_of(text))
                for kind, text in (
                    ("text/html", page.html),
                    ("application/json", page.json_),
                    ("text/plain", page.text),
                )
                if text is not None
            ]
            for status, page in self.config.pages.items()
        }

    def error(self, request: Request, error: Failure) -> Response | None:
        """Replies with the page, if there is one."""
        status = str(error.status)
        texts = self._pages.get(status) or self._pages.get(f"{status[0]}xx")
        if texts is None:
            return None
        kind, text = _preferred(request.headers.get("accept", ""), texts)
        values = {"status": status, "message": error.message, "id": request.id}
        body = PLACE.sub(lambda found: _escaped(values[found[1]], kind), text)
        fields = [
            ("content-type", f"{kind}; charset=utf-8"),
            ("vary", "Accept"),
            ("cache-control", "no-store"),
        ]
        return Response(error.status, body, headers=fields)


def _preferred(accept: str, texts: list[tuple[str, str]]) -> tuple[str, str]:
    """The text whose type `Accept` weighs most (RFC 9110 section 12.5.1); of equals the first."""
    return max(texts, key=lambda one: weight(accept, one[0])) if accept else texts[0]


def _escaped(value: str, kind: str) -> str:
    if kind == "text/html":
        return html.escape(value)
    return json.dumps(value)[1:-1] if kind == "application/json" else value
