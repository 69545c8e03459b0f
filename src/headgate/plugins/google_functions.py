"""Requests to Google Cloud Functions and Cloud Run, with an identity token of a service account."""

from __future__ import annotations

import base64
import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response

from ._services import URL
from ._tokens import Tokens

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FIELDS = ("authorization", "x-serverless-authorization")


class GoogleFunctions(Plugin):
    """Adds the identity token that a private Cloud Function or a service of Cloud Run asks for.

    The token is that of a service account, whose key file is `credentials`: a signed assertion (RFC 7523) is exchanged
    for it, and it is kept until a minute before its end. Clients' own `Authorization` is removed. Without a token
    the request gets 503.
    """

    order = 902

    class Config(BaseModel):
        """Settings of `google-functions`."""

        model_config = ConfigDict(extra="forbid")

        credentials: Path = Field(description="The key file of a service account, JSON.")
        audience: str = Field(
            pattern=r"^https://\S+$", description="The URL of the function or service, as Google names it."
        )
        timeout: float = Field(default=5, gt=0, description="Seconds to wait for a token.")

        @field_validator("credentials")
        @classmethod
        def _credentials(cls, file: Path) -> Path:
            Account(file)
            return file

    def setup(self, context: PluginContext) -> None:
        """Reads the key."""
        account, audience = Account(self.config.credentials), self.config.audience
        self._clock: Callable[[], float] = time.time
        self._denied = context.counter("unsigned")
        self._tokens = Tokens(
            context,
            account.token_url,
            lambda: {"grant_type": GRANT, "assertion": account.assertion(audience, int(self._clock()))},
            "id_token",
            self.config.timeout,
        )

    async def request(self, request: Request) -> Response | None:
        """Takes out what the client has, and adds the token."""
        headers = request.headers
        for name in {name for name in headers if name.replace("_", "-") in FIELDS}:
            del headers[name]
        token = await self._tokens.current()
        if token is None:
            self._denied.add()
            return Response(503, "try again later\n", headers=[("retry-after", "5")])
        headers["authorization"] = f"Bearer {token}"
        return None


class Account:
    """A service account; raises `ConfigError` where its file is not one."""

    def __init__(self, file: Path) -> None:
        try:
            hashes = importlib.import_module("cryptography.hazmat.primitives.hashes")
            padding = importlib.import_module("cryptography.hazmat.primitives.asymmetric.padding")
            keys = importlib.import_module("cryptography.hazmat.primitives.serialization")
        except ImportError:
            raise ConfigError(
                "`google-functions` needs the library `cryptography`", hint="pip install 'headgate[cloud]'"
            ) from None
        try:
            said: Any = json.loads(file.read_text())
            self._mail, self._id = str(said["client_email"]), str(said["private_key_id"])
            self.token_url = str(said["token_uri"])
            self._key: Any = keys.load_pem_private_key(said["private_key"].encode(), None)
            self._ways = (padding.PKCS1v15(), hashes.SHA256())
            self._key.sign(b"", *self._ways)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"`{file}` is not the key file of a service account: {type(error).__name__}",
                hint="create one with `gcloud iam service-accounts keys create`",
            ) from None
        if not URL.fullmatch(self.token_url):
            raise ConfigError(f"`token_uri` of `{file}` is not a URL", hint=None)

    def assertion(self, audience: str, now: int) -> str:
        """A signed request for an identity token for `audience`, good for an hour (RFC 7523 section 3)."""
        head = {"alg": "RS256", "typ": "JWT", "kid": self._id}
        claims = {
            "iss": self._mail,
            "sub": self._mail,
            "aud": self.token_url,
            "target_audience": audience,
            "iat": now,
            "exp": now + 3600,
        }
        text = ".".join(_encoded(json.dumps(one).encode()) for one in (head, claims))
        return f"{text}.{_encoded(self._key.sign(text.encode(), *self._ways))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
