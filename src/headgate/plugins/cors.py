"""Cross-origin requests of browsers (Fetch standard, section "CORS protocol"): who may ask, and what may be read."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError, Failure, Pattern, Plugin, PluginContext, Request, Response, ResponseView
from headgate.native import AskIf, CorsFields, Native, can_set

from ._fields import ReadName

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")
OWN = (
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
)
UNKNOWN_ORIGINS = ("*", "null", "https://any.invalid", "http://localhost.any.invalid:1")
"""What a pattern that is meant for somebody does not match."""


class Cors(Plugin):
    """Responds to preflight requests, and adds the CORS fields to every other response.

    A preflight (OPTIONS with `Origin` and `Access-Control-Request-Method`) always gets its response here; other OPTIONS
    requests are forwarded. Error responses of the gateway carry the fields too. CORS fields of the server are replaced.
    Of two uses on a request the first by order decides alone: give that of a route a lower `order`.
    """

    order = -300  # a preflight has no credentials: it comes before every plugin that asks for them

    class Config(BaseModel):
        """Settings of `cors`."""

        model_config = ConfigDict(extra="forbid")

        origins: list[str] = Field(
            min_length=1,
            description="Origins that may ask: `https://app.example`, `~regex` of whole ones, `null`, or `*` for all.",
        )
        methods: list[str] = Field(
            default=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            description="Methods that they may use.",
        )
        headers: list[ReadName] = Field(
            default=[],
            description="Header fields that they may send beyond the usual; `*` is all but `authorization`.",
        )
        expose: list[ReadName] = Field(
            default=[], description="Header fields of responses that scripts may read."
        )
        credentials: bool = Field(
            default=False, description="Whether cookies and client certificates go along; not with `*`."
        )
        max_age: int = Field(default=600, ge=0, description="How long a preflight holds, in seconds.")

        @field_validator("origins")
        @classmethod
        def _origins(cls, origins: list[str]) -> list[str]:
            for origin in origins:
                if origin.startswith("~"):
                    _check_pattern(origin)
                elif origin not in ("*", "null") and not ORIGIN.fullmatch(origin):
                    raise ConfigError(
                        f"`{origin}` is not a valid origin",
                        hint="write scheme and host in lower case, such as `https://app.example`",
                    )
            return origins

        @model_validator(mode="after")
        def _not_everybody_with_credentials(self) -> Cors.Config:
            if self.credentials and "*" in self.origins:
                raise ConfigError(
                    "`*` with `credentials` would let every site use its visitors' credentials",
                    hint="list the origins",
                )
            return self

    def setup(self, context: PluginContext) -> None:
        """Compiles the patterns."""
        self._exposed = ", ".join(self.config.expose)
        self._is_open = "*" in self.config.origins
        self._origins = frozenset(one for one in self.config.origins if not one.startswith("~"))
        self._patterns = [Pattern(one[1:]) for one in self.config.origins if one.startswith("~")]

    def native(self) -> Native:
        """Preflight requests are left to the hooks, and so are origins that only a pattern may know."""
        if not can_set(OWN[2], self._exposed):
            return Native()
        is_preflight = AskIf(methods=["OPTIONS"], fields=["origin", "access-control-request-method"])
        fields = CorsFields(
            origins=sorted(self._origins),
            credentials=self.config.credentials,
            expose=self._exposed,
            asks=bool(self._patterns),
        )
        return Native(request=[is_preflight], response=[is_preflight, fields])

    def request(self, request: Request) -> Response | None:
        """The response to a preflight request."""
        return self._preflight(request) if _is_preflight(request) else None

    def response(self, request: Request, response: ResponseView) -> None:
        """Says who may read this."""
        if not _is_preflight(request):
            self._mark(request, response.headers)

    def error(self, request: Request, error: Failure) -> Response:
        """Says the same of an error, which a script could not tell from a broken network otherwise."""
        if _is_preflight(request) and error.status in (404, 405):
            return self._preflight(request)
        reply = Response(error.status, f"{error.status} {error.message}\n")
        self._mark(request, reply.headers)
        return reply

    def _preflight(self, request: Request) -> Response:
        reply = Response(204)
        self._mark(request, reply.headers)
        if "access-control-allow-origin" in reply.headers:
            reply.headers["access-control-allow-methods"] = ", ".join(self.config.methods)
            if self.config.headers:
                reply.headers["access-control-allow-headers"] = ", ".join(self.config.headers)
            reply.headers["access-control-max-age"] = str(self.config.max_age)
        return reply

    def _mark(self, request: Request, headers: Any) -> None:
        fields = cast(MutableMapping[str, str], headers)
        for name in OWN:
            if name in fields:
                del fields[name]
        origin = request.headers.get("origin")
        if not self._is_open:
            _vary(headers)
        if origin is None or not self._allows(origin):
            return
        fields["access-control-allow-origin"] = "*" if self._is_open else origin
        if self.config.credentials:
            fields["access-control-allow-credentials"] = "true"
        if self._exposed:
            fields["access-control-expose-headers"] = self._exposed

    def _allows(self, origin: str) -> bool:
        known = self._is_open or origin in self._origins
        return known or any(pattern.fullmatch(origin) for pattern in self._patterns)


def _is_preflight(request: Request) -> bool:
    if request.method != "OPTIONS":
        return False
    headers = request.headers
    return "origin" in headers and "access-control-request-method" in headers


def _vary(headers: Any) -> None:
    """Says that another origin may get other fields, beside what the server said of that."""
    if "vary" not in headers:
        headers["vary"] = "Origin"
        return
    said = [name.strip() for value in headers.get_all("vary") for name in value.split(",")]
    if not {"origin", "*"} & {name.lower() for name in said}:
        headers["vary"] = ", ".join([*filter(None, said), "Origin"])


def _check_pattern(origin: str) -> None:
    pattern = Pattern(origin[1:])
    if any(pattern.fullmatch(stranger) for stranger in UNKNOWN_ORIGINS):
        raise ConfigError(f"`{origin}` matches any origin", hint="name the hosts")
