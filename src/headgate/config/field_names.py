"""Names of header fields, as settings take them: which ones a setting may write, and which ones it may claim."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from .errors import ConfigError

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 section 5.1."""

FRAMING = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Fields of one connection or of the framing of one message (RFC 9110 section 7.6.1), which the gateway writes anew."""

FORWARDING = frozenset(("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"))
"""Fields that tell of the way of a request, which have settings of their own."""


def check_token(name: str) -> str:
    """Refuses what is not the name of a field."""
    if not TOKEN.fullmatch(name):
        raise ConfigError(f"`{name}` is not a valid header field name", hint="a name has no spaces: `x-user`")
    return name


def check_settable(name: str) -> str:
    """Refuses the name of a field whose value would change where a message ends, or what its connection is."""
    if name.lower() in FRAMING:
        raise ConfigError(
            f"`{name}` cannot be set",
            hint="the gateway writes the fields of the connection and the framing itself",
        )
    return name


def check_claimable(name: str) -> str:
    """Refuses a field that every request needs from its client, or that the gateway writes anew in each."""
    folded = name.lower().replace("_", "-")
    if folded == "host":
        raise ConfigError(
            f"`{name}` cannot be removed from requests: each has one",
            hint="set `request.host` in a hook, or refuse hosts by routes with `host`",
        )
    if folded in FRAMING:
        raise ConfigError(
            f"`{name}` cannot be removed from requests",
            hint="the gateway writes the fields of the connection and the framing itself",
        )
    return name


def check_own(name: str) -> str:
    """Refuses a field that the gateway cannot use for a fact of its own."""
    check_settable(name)
    folded = name.lower()
    if folded in FORWARDING or folded in ("host", "date", "cookie", "set-cookie", "authorization"):
        raise ConfigError(
            f"`{name}` has a meaning of its own", hint="choose another name, such as `x-client-fact`"
        )
    return name


def _schema() -> Any:
    return WithJsonSchema({"type": "string", "pattern": f"^{TOKEN.pattern}$"})


IdentityField = Annotated[str, AfterValidator(check_token), AfterValidator(check_claimable), _schema()]
"""The name of a header field that only hooks may set."""

OwnField = Annotated[str, AfterValidator(check_token), AfterValidator(check_own), _schema()]
"""The name of a header field that the gateway itself sets."""
