"""Header fields that tell browsers to be careful."""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Failure, Plugin, PluginContext, Request, Response, ResponseView
from headgate.native import EditFields, Native, can_set

from ._fields import READ_ONLY, FieldName, FieldText, ReadName

NONCE = "{nonce}"


class Hsts(BaseModel):
    """Strict-Transport-Security (RFC 6797), on responses over TLS only."""

    model_config = ConfigDict(extra="forbid")

    max_age: int = Field(default=31_536_000, ge=0, description="How long browsers use TLS only, in seconds.")
    include_subdomains: bool = Field(
        default=False, description="Whether that holds for names below this one."
    )
    preload: bool = Field(default=False, description="Whether browsers may have it built in; hard to undo.")


class SecurityHeaders(Plugin):
    """Adds the header fields that keep browsers from sniffing types, framing pages and sending referrers.

    What the server sends is replaced. In `content_security_policy` `{nonce}` is a new random text for each request,
    which the server gets in `nonce_header` to put it into its page; such a page is not stored by caches.
    Of two uses on a request the later one, that of the route, has the last word on each field.
    """

    order = -600

    class Config(BaseModel):
        """Settings of `security-headers`."""

        model_config = ConfigDict(extra="forbid")

        hsts: Hsts | None = Field(default=Hsts(), description="Strict-Transport-Security; null sends none.")
        content_security_policy: FieldText | None = Field(
            default=None, description="Content-Security-Policy, such as `script-src 'nonce-{nonce}'`."
        )
        report_only: bool = Field(default=False, description="Whether the policy is only reported on.")
        nonce_header: FieldName = Field(
            default="x-csp-nonce", description="The field that tells the server the nonce."
        )
        content_type_options: FieldText | None = Field(
            default="nosniff", description="X-Content-Type-Options."
        )
        frame_options: FieldText | None = Field(default="SAMEORIGIN", description="X-Frame-Options.")
        referrer_policy: FieldText | None = Field(
            default="strict-origin-when-cross-origin", description="Referrer-Policy."
        )
        permissions_policy: FieldText | None = Field(default=None, description="Permissions-Policy.")
        opener_policy: FieldText | None = Field(default=None, description="Cross-Origin-Opener-Policy.")
        embedder_policy: FieldText | None = Field(default=None, description="Cross-Origin-Embedder-Policy.")
        resource_policy: FieldText | None = Field(default=None, description="Cross-Origin-Resource-Policy.")
        remove: list[ReadName] = Field(
            default=["server", "x-powered-by"], description="Fields of the server that are removed."
        )

        @field_validator("hsts")
        @classmethod
        def _preload(cls, hsts: Hsts | None) -> Hsts | None:
            if hsts and hsts.preload and not (hsts.include_subdomains and hsts.max_age >= 31_536_000):
                raise ConfigError(
                    "`preload` requires `include_subdomains` and a `max_age` of a year",
                    hint="see hstspreload.org",
                )
            return hsts

    def setup(self, context: PluginContext) -> None:
        """Writes the fields."""
        self._key = f"{context.name} nonce"
        config = self.config
        fields = {
            "x-content-type-options": config.content_type_options,
            "x-frame-options": config.frame_options,
            "referrer-policy": config.referrer_policy,
            "permissions-policy": config.permissions_policy,
            "cross-origin-opener-policy": config.opener_policy,
            "cross-origin-embedder-policy": config.embedder_policy,
            "cross-origin-resource-policy": config.resource_policy,
        }
        self._fields = [(name, value) for name, value in fields.items() if value is not None]
        self._hsts = _hsts(config.hsts) if config.hsts else None
        self._policy = config.content_security_policy
        self._policy_name = "content-security-policy" + ("-report-only" if config.report_only else "")
        self._has_nonce = self._policy is not None and NONCE in self._policy
        if self._policy is not None and not self._has_nonce:
            self._fields.append((self._policy_name, self._policy))
        if self._has_nonce:
            context.remove_from_clients(config.nonce_header)

    def native(self) -> Native:
        """All but a nonce, where it is used once."""
        if self._has_nonce or not all(can_set(name, value) for name, value in self._fields):
            return Native()
        if not READ_ONLY.isdisjoint(name.lower() for name in self.config.remove):
            return Native()
        marks = [EditFields(remove=self.config.remove, set=dict(self._fields))]
        if self._hsts is not None:
            marks.append(EditFields(set={"strict-transport-security": self._hsts}, scheme="https"))
        return Native(request=[], response=marks, alone=True)

    def request(self, request: Request) -> None:
        """Makes the nonce."""
        if self._has_nonce:
            vars(request.state)[self._key] = nonce = secrets.token_urlsafe(16)
            request.headers[self.config.nonce_header] = nonce

    def response(self, request: Request, response: ResponseView) -> None:
        """Adds the fields."""
        self._mark(request, response.headers)

    def error(self, request: Request, error: Failure) -> Response:
        """The gateway's own errors have them too."""
        reply = Response(error.status, f"{error.status} {error.message}\n")
        self._mark(request, reply.headers)
        return reply

    def _mark(self, request: Request, headers: Any) -> None:
        fields = cast(MutableMapping[str, str], headers)
        for name in self.config.remove:
            if name in fields:
                del fields[name]
        # hooks of responses run in reverse: what is set already is said by a use that is closer to the server
        done = vars(request.state).setdefault("security headers", {})
        for name, value in self._fields_of(request):
            if done.setdefault(name, self) is self:
                fields[name] = value

    def _fields_of(self, request: Request) -> list[tuple[str, str]]:
        more = []
        if self._hsts is not None and request.scheme == "https":
            more.append(("strict-transport-security", self._hsts))
        nonce = getattr(request.state, self._key, None) if self._has_nonce else None
        if nonce is not None and self._policy is not None:
            more.append((self._policy_name, self._policy.replace(NONCE, nonce)))
            more.append(("cache-control", "no-store"))
        return [*self._fields, *more] if more else self._fields


def _hsts(hsts: Hsts) -> str:
    return (
        f"max-age={hsts.max_age}"
        + ("; includeSubDomains" if hsts.include_subdomains else "")
        + ("; preload" if hsts.preload else "")
    )
