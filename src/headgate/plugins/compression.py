"""Compresses responses for clients that take it: gzip, br and zstd, as they stream through."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Headers, Plugin, PluginContext, Request, ResponseView
from headgate.native import AskIf, AskSet, CodedResponse, Native, WantedCoding

from ._bodies import told_length
from ._codings import LEVELS, Encode, check, chosen, encoder, items, vary
from ._media_types import MediaTypes, is_changeable, is_of

Coding = Literal["gzip", "br", "zstd"]
TYPES = [
    *("text/*", "application/json", "application/javascript", "application/xml", "application/wasm"),
    *("application/manifest+json", "application/ld+json", "application/problem+json", "application/rss+xml"),
    *("application/atom+xml", "application/xhtml+xml", "application/x-ndjson", "image/svg+xml"),
]


TAG = re.compile(r'(?:W/)?"[^"]*"')
"""An entity tag, in which there may be commas (RFC 9110 section 8.8.3)."""


class Compression(Plugin):
    """Compresses responses of some types with the coding that the client wants most, chunk by chunk, each flushed.

    Parts (206), what is coded already, `no-transform` and bodies below `min_length` stay as they are. `Vary` names
    `Accept-Encoding` wherever it could have counted, `ETag` is weak, and a client that shows it again is understood
    by servers that compare texts. `Range` does not reach the server. Who can put text of his own into a page and sees
    its compressed size can guess secrets in it (BREACH): requests with cookies from other sites get it uncompressed,
    as far as browsers say so (`Sec-Fetch-Site`); pages that mirror what others send need masked tokens still. It runs
    after all plugins that change bodies.
    """

    order = -850

    class Config(BaseModel):
        """Settings of `compression`."""

        model_config = ConfigDict(extra="forbid")

        codings: list[Coding] = Field(
            default=["gzip"],
            min_length=1,
            description="Codings, the first is preferred; `br` and `zstd` need `pip install 'headgate[compression]'`.",
        )
        levels: dict[Coding, int] = Field(
            default={}, description="Levels: gzip 1 to 9 (6), br 0 to 11 (4), zstd 1 to 19 (3)."
        )
        types: MediaTypes = Field(
            default=TYPES, min_length=1, description="Media types: `text/html`, `text/*`, or `*`."
        )
        min_length: int = Field(
            default=1024, ge=0, description="The fewest bytes of a body whose length is known."
        )
        cross_site: bool = Field(
            default=False,
            description="Whether requests with cookies from other sites get compressed responses.",
        )

        @field_validator("codings")
        @classmethod
        def _codings(cls, codings: list[Coding]) -> list[Coding]:
            if len(set(codings)) < len(codings):
                raise ConfigError("duplicate coding", hint="name each once")
            for one in codings:
                check(one)
            return codings

        @field_validator("levels")
        @classmethod
        def _levels(cls, levels: dict[Coding, int]) -> dict[Coding, int]:
            for coding, level in levels.items():
                lowest, highest, _ = LEVELS[coding]
                if not lowest <= level <= highest:
                    raise ConfigError(
                        f"`{level}` is not a valid level of `{coding}`", hint=f"write {lowest} to {highest}"
                    )
            return levels

    def setup(self, context: PluginContext) -> None:
        """Prepares the levels."""
        self._codings = tuple(self.config.codings)
        self._types = tuple(self.config.types)
        self._levels = {name: self.config.levels.get(name, LEVELS[name][2]) for name in self._codings}
        self._key = f"{context.name} encode"
        self._wanted_key = f"{context.name} wanted"

    def native(self) -> Native:
        """What the head says, but to clients that show entity tags again; bodies are the hook's."""
        config, note = self.config, self._wanted_key
        return Native(
            request=[
                AskIf(fields=["accept-encoding", "if-none-match"]),
                WantedCoding(self._codings, note, config.cross_site),
            ],
            response=[CodedResponse(self._codings, self._types, config.min_length, note, self._key)],
            response_body=[AskSet(self._key)],
        )

    def request(self, request: Request) -> None:
        """Notes what the client takes, and lets servers that compare texts recognize an entity tag that was made weak
        here.
        """
        wanted = vars(request.state)[self._wanted_key] = self._wanted_by(request)
        if wanted is not None and "if-none-match" in request.headers:
            lines = ", ".join(request.headers.get_all("if-none-match"))
            tags = TAG.findall(lines)
            strong = [tag[2:] for tag in tags if tag.startswith("W/") and tag[2:] not in tags]
            if strong:
                request.headers["if-none-match"] = ", ".join(dict.fromkeys((lines, *strong)))

    def response(self, request: Request, response: ResponseView) -> None:
        """Decides, and says so in the head."""
        headers, status = response.headers, response.status
        if status == 304:
            vary(response)
            if self._wanted(request) is not None:
                _weaken(response)
            return
        if not is_of(headers, self._types):
            return
        vary(response)
        if request.method == "HEAD" or _is_coded(headers) or not is_changeable(status, headers):
            return
        length = told_length(headers)
        if length is not None and length < self.config.min_length:
            return
        coding = self._wanted(request)
        if coding is None:
            return
        headers["content-encoding"] = coding
        _weaken(response)
        vars(request.state)[self._key] = coding

    def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> bytes | None:
        """Compresses a chunk."""
        state = vars(request.state)
        encode: Encode | Coding | None = state.get(self._key)
        if encode is None:
            return None
        if isinstance(encode, str):
            encode = state[self._key] = encoder(encode, self._levels[encode])
        return encode(chunk, last)

    def _wanted(self, request: Request) -> Coding | None:
        """What the client takes; plugins that read bodies have asked the server for none since."""
        state = vars(request.state)
        return state[self._wanted_key] if self._wanted_key in state else self._wanted_by(request)

    def _wanted_by(self, request: Request) -> Coding | None:
        headers = request.headers
        is_exposed = "cookie" in headers and headers.get("sec-fetch-site") == "cross-site"
        if is_exposed and not self.config.cross_site:
            return None
        return chosen(",".join(headers.get_all("accept-encoding")), self._codings)  # type: ignore[return-value]


def _is_coded(headers: Headers) -> bool:
    return "content-encoding" in headers and not items(headers, "content-encoding") <= {"identity"}


def _weaken(response: ResponseView) -> None:
    tag = response.headers.get("etag")
    if tag is not None and tag.startswith('"'):
        response.headers["etag"] = f"W/{tag}"
