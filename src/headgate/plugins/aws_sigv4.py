"""Signs requests to AWS: S3, Lambda, API Gateway and all else that takes Signature Version 4."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response

from ._bodies import is_told_larger
from ._fields import FieldSecret
from ._sigv4 import canonical_path, canonical_request, signature, signing_key

UNSIGNED = "UNSIGNED-PAYLOAD"
OWN = frozenset(("x-amz-content-sha256", "x-amz-date", "x-amz-security-token"))
EMPTY = hashlib.sha256(b"").hexdigest()


class AwsSigv4(Plugin):
    """Signs each request with keys of one's own before it goes to the server; the client's `Authorization` goes.

    Signed are method, path, query, `host`, the body, and the `x-amz-*` fields, nothing that is written later. The body
    is read whole for that, up to `max_body_bytes`; S3 over TLS takes `unsigned_body: true`, which streams. Of clients'
    own `x-amz-*` fields only those in `keep` go on. A `+` in the query is sent as `%20`, which is what AWS reads.
    """

    order = 900  # what is signed must not change any more

    class Config(BaseModel):
        """Settings of `aws-sigv4`."""

        model_config = ConfigDict(extra="forbid")

        access_key: str = Field(
            min_length=1, description="The id of the access key: `env:AWS_ACCESS_KEY_ID`."
        )
        secret_key: SecretStr = Field(
            min_length=1, description="The secret access key: `env:AWS_SECRET_ACCESS_KEY`."
        )
        session_token: FieldSecret | None = Field(
            default=None, description="The token of temporary credentials; renewing it takes a reload."
        )
        region: str = Field(pattern=r"^[a-z0-9-]+$", description="The region, such as `eu-central-1`.")
        service: str = Field(
            pattern=r"^[a-z0-9-]+$", description="The service: `s3`, `lambda`, `execute-api` (API Gateway)."
        )
        host: str | None = Field(
            default=None,
            pattern=r"^[A-Za-z0-9.-]+(:[0-9]+)?$",
            description="The host that is asked for: `bucket.s3.eu-central-1.amazonaws.com`; null is the client's. The "
            "upstream must send it as it is, `host: preserve`.",
        )
        unsigned_body: bool = Field(
            default=False, description="Whether the body is not signed, but streamed: S3 over TLS only."
        )
        max_body_bytes: int = Field(
            default=10_485_760, ge=0, description="The most bytes of a signed body; a longer one is a 413."
        )
        keep: list[str] = Field(
            default=[], description="Fields of clients that go on, such as `x-amz-meta-title`."
        )

        @field_validator("keep")
        @classmethod
        def _keep(cls, names: list[str]) -> list[str]:
            folded = [name.lower() for name in names]
            for name in folded:
                if not name.startswith("x-amz-") or name in OWN:
                    raise ConfigError(
                        f"`{name}` cannot be kept", hint="name a field such as `x-amz-meta-title`"
                    )
            return folded

        @model_validator(mode="after")
        def _unsigned(self) -> AwsSigv4.Config:
            if self.unsigned_body and self.service != "s3":
                raise ConfigError(
                    f"`{self.service}` takes no body that is not signed", hint="`unsigned_body` is for `s3`"
                )
            return self

    def setup(self, context: PluginContext) -> None:
        """Prepares the key."""
        config = self.config
        self._secret = config.secret_key.get_secret_value()
        self._token = config.session_token.get_secret_value() if config.session_token else None
        self._is_s3 = config.service == "s3"
        self._key, self._date = b"", ""
        self._clock: Callable[[], float] = time.time

    async def request(self, request: Request) -> Response | None:
        """Signs."""
        payload_hash = UNSIGNED
        if not self.config.unsigned_body:
            found = await self._hash(request)
            if found is None:
                return Response(413, "the body is too large\n")
            payload_hash = found
        if self.config.host is not None:
            request.host = self.config.host
        # set in any case: it is sent as it is signed, not as the client spelt it
        query = request.query.replace("+", "%20")
        request.target = f"{request.path}?{query}" if query else request.path
        headers = request.headers
        for name in set(headers):
            folded = name.replace("_", "-")
            if folded.startswith("x-amz-") and name not in self.config.keep:
                del headers[name]
        self._sign(request, payload_hash)
        return None

    async def _hash(self, request: Request) -> str | None:
        if is_told_larger(request.headers, self.config.max_body_bytes):
            return None
        body = await request.body()
        if len(body) > self.config.max_body_bytes:
            return None
        return hashlib.sha256(body).hexdigest() if body else EMPTY

    def _sign(self, request: Request, payload_hash: str) -> None:
        config, headers = self.config, request.headers
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        if now[:8] != self._date:
            self._date = now[:8]
            self._key = signing_key(self._secret, self._date, config.region, config.service)
        headers["x-amz-date"] = now
        headers["x-amz-content-sha256"] = payload_hash
        if self._token is not None:
            headers["x-amz-security-token"] = self._token
        fields = [(name, value) for name, value in headers.items() if name.startswith("x-amz-")]
        canonical = canonical_request(
            request.method,
            canonical_path(request.path, is_s3=self._is_s3),
            request.query,
            [("host", request.host), *fields],
            payload_hash,
        )
        scope = f"{self._date}/{config.region}/{config.service}/aws4_request"
        mac = signature(self._key, now, scope, canonical.text)
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={config.access_key}/{scope}, "
            f"SignedHeaders={canonical.signed}, Signature={mac}"
        )
