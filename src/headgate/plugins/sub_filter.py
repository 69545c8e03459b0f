"""Replaces texts in bodies of responses while they are streamed, also where one lies across two chunks."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, ResponseView, body_mode

from ._media_types import OF_THE_OLD_BODY, MediaTypes, charset_of, is_changeable, is_of

LONGEST = 1024
UTF8 = (None, "utf-8", "utf8", "us-ascii")


class Replacement(BaseModel):
    """A text and what stands in its place."""

    model_config = ConfigDict(extra="forbid")

    find: str = Field(min_length=1, description="The text, as it stands in the body; at most 1024 bytes.")
    by: str = Field(max_length=65536, description="What stands there then.")
    ignore_case: bool = Field(default=False, description="Whether ASCII letters of either case are equal.")
    once: bool = Field(default=False, description="Whether only the first in a response is replaced.")

    @field_validator("find")
    @classmethod
    def _find(cls, find: str) -> str:
        if len(find.encode("utf-8", "surrogatepass")) > LONGEST:
            raise ConfigError(f"a text has more than {LONGEST} bytes", hint="its beginning will do")
        return find


class SubFilter(Plugin):
    """Replaces texts in bodies of responses of some types, as they stream through; at most 1023 bytes are held back.

    Of several texts at one place the first that is listed counts; what was put in is not looked at again. Codings are
    undone and made anew (gzip, deflate, br, zstd). `Range` does not reach the server, since its parts would be those of
    another body, and a replaced body has no `ETag`, `Last-Modified` and `Accept-Ranges`. Parts (206), `no-transform`,
    and other charsets than UTF-8 if a text is not ASCII, stay as they are.
    """

    order = 505

    class Config(BaseModel):
        """Settings of `sub-filter`."""

        model_config = ConfigDict(extra="forbid")

        replace: list[Replacement] = Field(min_length=1, max_length=64, description="Texts to be replaced.")
        types: MediaTypes = Field(
            default=["text/html"],
            min_length=1,
            description="Media types of bodies: `text/html`, `text/*`, or `*` for all.",
        )

    def setup(self, context: PluginContext) -> None:
        """Prepares the texts."""
        self._texts = tuple(
            Text(one.find.encode(), one.by.encode(), one.ignore_case, one.once) for one in self.config.replace
        )
        self._is_ascii = all(one.find.isascii() and one.by.isascii() for one in self._texts)
        self._key = f"{context.name} stream"

    def request(self, request: Request) -> None:
        """Asks for the whole body."""
        for name in ("range", "if-range"):
            request.headers.pop(name, None)

    def response(self, request: Request, response: ResponseView) -> None:
        """Decides whether texts are replaced; what describes the old body goes."""
        if not self._is_wanted(response):
            return
        for name in OF_THE_OLD_BODY:
            response.headers.pop(name, None)
        vars(request.state)[self._key] = Stream(self._texts)

    @body_mode("stream", decode=True)
    def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> bytes | None:
        """Replaces what is whole, and holds back what may be the beginning of a text."""
        stream: Stream | None = getattr(request.state, self._key, None)
        return None if stream is None else stream.replaced(chunk, last=last)

    def _is_wanted(self, response: ResponseView) -> bool:
        headers = response.headers
        if not is_of(headers, self.config.types) or not is_changeable(response.status, headers):
            return False
        return self._is_ascii or charset_of(headers) in UTF8


class Text(NamedTuple):
    """A text as bytes."""

    find: bytes
    by: bytes
    ignores_case: bool
    once: bool


class Stream:
    """A body as its chunks come; the result does not depend on how it is cut."""

    def __init__(self, texts: tuple[Text, ...]) -> None:
        self._texts = texts
        self._pattern = _pattern(texts)
        self._held = b""

    def replaced(self, chunk: bytes, *, last: bool) -> bytes:
        """What can be sent on."""
        body, at, made = self._held + chunk, 0, []
        end = len(body) if last else self._undecided(body, at)
        while self._texts:
            found = self._pattern.search(body, at)
            if found is None or found.start() >= end:
                break
            text = self._texts[(found.lastindex or 1) - 1]
            made += [body[at : found.start()], text.by]
            at = found.end()
            if text.once:
                self._texts = tuple(one for one in self._texts if one is not text)
                self._pattern = _pattern(self._texts)
            if not last and (text.once or at > end):
                end = self._undecided(body, at)
        self._held = body[end:]
        made.append(body[at:end])
        return b"".join(made)

    def _undecided(self, body: bytes, at: int) -> int:
        """Where a text may begin that the next chunk continues."""
        longest = max((len(one.find) for one in self._texts), default=1)
        for start in range(max(at, len(body) - longest + 1), len(body)):
            tail = body[start:]
            for one in self._texts:
                head = one.find[: len(tail)]
                if len(one.find) > len(tail) and (
                    head == tail or (one.ignores_case and head.lower() == tail.lower())
                ):
                    return start
        return len(body)


@lru_cache(256)
def _pattern(texts: tuple[Text, ...]) -> re.Pattern[bytes]:
    """Finds any of the texts: alternatives of plain bytes, so that its time is linear."""
    return re.compile(
        b"|".join((b"((?i:%s))" if one.ignores_case else b"(%s)") % re.escape(one.find) for one in texts)
    )
