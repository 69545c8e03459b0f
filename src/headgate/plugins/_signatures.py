"""Signatures of webhooks, as the Standard Webhooks specification has them."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from headgate import ConfigError

PREFIX = "whsec_"


def _checked(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().removeprefix(PREFIX)
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ConfigError("a secret is not valid base64", hint="it is what follows `whsec_`") from None
    if not 24 <= len(key) <= 64:
        raise ConfigError("a secret has 24 to 64 bytes", hint="create one with `openssl rand -base64 32`")
    return secret


Secret = Annotated[SecretStr, AfterValidator(_checked)]


def signature(key: bytes, id: str, moment: str, body: bytes) -> str:
    """The signature of a message, as it stands in the field: `v1,` and base64."""
    mac = hmac.digest(key, f"{id}.{moment}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(mac).decode()}"
