"""Keeps other sites from acting for their visitors: tokens bound to a session, and where a request comes from."""

from __future__ import annotations

import hmac
import re
import secrets
import time

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response, ResponseView
from headgate._digits import whole_number
from headgate.native import AskIf, Native

from ._fields import ReadName
from ._texts import SigningSecret

SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
ORIGIN = re.compile(r"https?://[^/?#\s]+")


class Csrf(Plugin):
    """Refuses requests that change something unless they come from this site and carry its token.

    `Origin` must be this site's own, scheme included, or one of `origins`; without it `Sec-Fetch-Site` must be
    `same-origin` or `none`. The token is in a cookie and in a header field; it is a MAC over the session (the value of
    `session_cookie`) and a random text, so that the token of one session is worth nothing in another (OWASP, signed
    double-submit cookie). GET, HEAD, OPTIONS and TRACE are let in, and get the cookie.
    """

    order = 20

    class Config(BaseModel):
        """Settings of `csrf`."""

        model_config = ConfigDict(extra="forbid")

        secret: SigningSecret = Field(description="The key of the tokens, of 16 characters or more.")
        session_cookie: str = Field(description="The cookie that holds the session.")
        cookie: str = Field(
            default="__Host-csrf", description="The token's cookie; `__Host-` ones are for TLS only."
        )
        header: ReadName = Field(
            default="x-csrf-token", description="The header field that scripts put the token in."
        )
        origins: list[str] = Field(
            default=[], description="Other origins that may act: `https://app.example`."
        )
        max_age: int = Field(default=43200, ge=60, description="How long a token holds, in seconds.")

        @field_validator("origins")
        @classmethod
        def _origins(cls, origins: list[str]) -> list[str]:
            for origin in origins:
                if not ORIGIN.fullmatch(origin):
                    raise ConfigError(f"`{origin}` is not a valid origin", hint="write `https://app.example`")
            return origins

    def setup(self, context: PluginContext) -> None:
        """Prepares the key."""
        self._key = self.config.secret.get_secret_value().encode()
        self._origins = frozenset(self.config.origins)
        self._denied = context.counter("denied")

    def native(self) -> Native:
        """Requests that change nothing, and have no cookie that could be a session."""
        return Native(request=[AskIf(other_methods=sorted(SAFE))], response=[AskIf(fields=["cookie"])])

    def request(self, request: Request) -> Response | None:
        """Checks where a request comes from, and its token."""
        if request.method in SAFE:
            return None
        reason = self._wrong(request)
        if reason is None:
            return None
        self._denied.add()
        return Response(403, f"{reason}\n")

    def response(self, request: Request, response: ResponseView) -> None:
        """Gives the token to a session that has none."""
        cookies = request.cookies
        session = cookies.get(self.config.session_cookie)
        if request.method not in SAFE or not session:
            return
        if not self._is_valid(cookies.get(self.config.cookie, ""), session, self.config.max_age / 2):
            response.set_cookie(
                self.config.cookie,
                self._token(session),
                secure=self.config.cookie.startswith("__") or request.scheme == "https",
                samesite="strict",
                max_age=self.config.max_age,
            )

    def _wrong(self, request: Request) -> str | None:
        origin = request.headers.get("origin")
        if origin is not None:
            if origin != f"{request.scheme}://{request.host}" and origin not in self._origins:
                return "this request comes from another site"
        elif request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return "this request comes from another site"
        cookies = request.cookies
        token, session = cookies.get(self.config.cookie, ""), cookies.get(self.config.session_cookie, "")
        given = request.headers.get(self.config.header, "")
        if not hmac.compare_digest(_bytes(token), _bytes(given)):
            return "the token is missing or another one"
        return None if self._is_valid(token, session, self.config.max_age) else "the token does not hold"

    def _token(self, session: str) -> str:
        text = f"{int(time.time())}.{secrets.token_urlsafe(16)}"
        return f"{text}.{self._mac(session, text)}"

    def _is_valid(self, token: str, session: str, max_age: float) -> bool:
        text, _, mac = token.rpartition(".")
        made = text.partition(".")[0]
        made_s = whole_number(made)
        if not session or made_s is None:
            return False
        is_fresh = 0 <= time.time() - made_s <= max_age
        return hmac.compare_digest(_bytes(mac), _bytes(self._mac(session, text))) and is_fresh

    def _mac(self, session: str, text: str) -> str:
        told = len(session).to_bytes(4, "big") + _bytes(session) + _bytes(text)
        return hmac.digest(self._key, told, "sha256").hex()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
