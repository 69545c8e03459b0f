"""Undoes content codings: of requests for servers that know none, of responses for clients that take none."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response, ResponseView

from ._bodies import BadBody, decoded
from ._codings import chosen, vary
from ._decoding import Decoder, check, decoder
from ._media_types import is_changeable

Coding = Literal["gzip", "deflate", "br", "zstd"]
OF_REQUESTS = ("gzip", "x-gzip", "deflate", "br", "zstd")
TOKENS = re.compile(r"[^\s,]+")
FREE_BYTES = 65_536
"""What a decoded body may have whatever its ratio: small ones of blanks are not meant."""


class Decompression(Plugin):
    """Decodes bodies in gzip, deflate, br and zstd: of requests, for servers that read none of them, and of responses
    in a coding that the client has not asked for.

    A body that grows beyond `max_bytes`, or to more than `max_ratio` times of what was sent, is refused while it is
    decoded: 413, of a response 502, or cut off where a part was sent. Requests are held until they are whole, responses
    stream. Requests in another coding, or in several, get a 415 that lists what is taken. Later plugins see what was
    decoded.
    """

    order = -85

    class Config(BaseModel):
        """Settings of `decompression`."""

        model_config = ConfigDict(extra="forbid")

        request: bool = Field(default=True, description="Whether bodies of requests are decoded.")
        response: Literal["never", "unasked", "always"] = Field(
            default="unasked",
            description="Which responses are decoded: those in a coding that the client does not take, or all.",
        )
        codings: list[Coding] = Field(
            default=["gzip", "deflate"],
            description="Codings of responses; `br` and `zstd` need `pip install 'headgate[compression]'`.",
        )
        max_bytes: int = Field(default=10_485_760, ge=1, description="The most bytes of a decoded body.")
        max_ratio: int = Field(
            default=100,
            ge=2,
            description="How many times larger than what was sent it may be, once it has more than 64 KiB.",
        )
        other_codings: Literal["refuse", "pass"] = Field(
            default="refuse", description="What becomes of requests in another coding, or in several."
        )

        @field_validator("codings")
        @classmethod
        def _codings(cls, codings: list[Coding]) -> list[Coding]:
            for one in codings:
                check(one)
            return codings

        @model_validator(mode="after")
        def _something(self) -> Decompression.Config:
            if not self.request and (self.response == "never" or not self.codings):
                raise ConfigError("nothing is decoded", hint="write `request: true` or `response: unasked`")
            return self

    def setup(self, context: PluginContext) -> None:
        """Makes the counter."""
        self._key, self._accept_key = f"{context.name} stream", f"{context.name} accept"
        self._refused = context.counter("refused")
        self._log = context.log

    async def request(self, request: Request) -> Response | None:
        """Decodes the request's body, and notes what the client takes."""
        vars(request.state)[self._accept_key] = ",".join(request.headers.get_all("accept-encoding"))
        named = _named(request.headers) if self.config.request else []
        if not named:
            return None
        if len(named) > 1 or named[0] not in OF_REQUESTS:
            if self.config.other_codings == "pass":
                return None
            return self._refusal(415, "the coding of the body is not one of those that are taken")
        try:
            sent = len(await request.body())
            body = await decoded(request, self.config.max_bytes)
        except BadBody as error:
            return self._refusal(error.status, str(error))
        if len(body) > self._most(sent):
            return self._refusal(413, "the body is too large")
        request.set_body(body, content_type=request.headers.get("content-type"))
        return None

    def response(self, request: Request, response: ResponseView) -> None:
        """Decides, and says so in the head."""
        if self.config.response == "never":
            return
        headers = response.headers
        named = [one.removeprefix("x-") for one in _named(headers)]
        if len(named) != 1 or named[0] not in self.config.codings:
            return
        if self.config.response == "unasked":
            vary(response)
            if chosen(getattr(request.state, self._accept_key, ""), tuple(named)) is not None:
                return
        if request.method == "HEAD" or not is_changeable(response.status, headers):
            return
        for name in ("content-encoding", "accept-ranges", "content-md5"):
            headers.pop(name, None)
        vars(request.state)[self._key] = _Stream(decoder(named[0]))

    def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> bytes | Response | None:
        """Decodes a chunk."""
        stream: _Stream | None = getattr(request.state, self._key, None)
        if stream is None:
            return None
        stream.sent += len(chunk)
        try:
            made = stream.decoder.decoded(chunk, self._most(stream.sent) - stream.made)
            stream.made += len(made)
            if last and stream.sent and not stream.decoder.is_whole:
                raise BadBody("the body ends too early")
        except BadBody as error:
            self._refused.add()
            self._log.warning("a response cannot be decoded", extra={"reason": str(error)})
            return Response.json({"error": "the response of the server is not what was expected"}, 502)
        return made

    def _most(self, sent: int) -> int:
        """The most bytes that a body may have, of which so many were sent."""
        return int(min(self.config.max_bytes, max(sent * self.config.max_ratio, FREE_BYTES)))

    def _refusal(self, status: int, text: str) -> Response:
        self._refused.add()
        reply = Response.json({"error": text}, status)
        if status == 415:
            reply.headers["accept-encoding"] = "gzip, deflate, br, zstd"  # RFC 9110 section 12.5.3
        return reply


class _Stream:
    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.sent = self.made = 0


def _named(headers: Any) -> list[str]:
    """The codings of a message, without `identity`."""
    lines = headers.get_all("content-encoding")
    return [one for line in lines for one in TOKENS.findall(line.lower()) if one != "identity"]
