"""Webhooks as the Standard Webhooks specification has them: signatures that are checked, or made."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response, ResponseView

from ._bodies import is_told_larger
from ._signatures import PREFIX, Secret
from ._signatures import signature as signature

ID = re.compile(r"[!-\-/-~]{1,256}")
"""Without a full stop: that ends the id in what is signed."""
TIME = re.compile(r"[0-9]{1,12}")
MOST_SIGNATURES = 32


class Verify(BaseModel):
    """How signatures of webhooks that come in are checked."""

    model_config = ConfigDict(extra="forbid")

    secrets: list[Secret] = Field(
        min_length=1, description="Secrets, as `whsec_...`; each is good, so that they can be changed."
    )
    tolerance: int = Field(default=300, ge=1, description="How far the time may be from now, in seconds.")
    status: int = Field(default=403, ge=400, le=499, description="The status of a refusal.")
    once: bool = Field(
        default=True,
        description="Whether a message that was taken is refused, with a 409, if the very same comes again.",
    )
    memory: str = Field(
        default="16m",
        description="The size of the table of messages; when it is full of some that still count, new ones get a 503.",
    )


class Sign(BaseModel):
    """How webhooks that go out are signed."""

    model_config = ConfigDict(extra="forbid")

    secrets: list[Secret] = Field(
        min_length=1, max_length=8, description="Secrets, as `whsec_...`; while they are changed both sign."
    )


class Webhooks(Plugin):
    """Checks the signatures of webhooks before they reach a server (`verify`), or signs requests that are webhooks of
    one's own (`sign`), by the Standard Webhooks specification: HMAC-SHA-256 over id, time and body.

    A message whose time is more than `tolerance` from now is refused, and so is the very same message again, over all
    workers; a new attempt of the sender has a new time, and is let in, as is the same after it failed. Signed requests
    keep a valid id that they have, since that is equal in all attempts of a message, and lose other fields of webhooks.
    """

    order = 10

    class Config(BaseModel):
        """Settings of `webhooks`."""

        model_config = ConfigDict(extra="forbid")

        verify: Verify | None = Field(default=None, description="Checks what comes in; runs at order 10.")
        sign: Sign | None = Field(default=None, description="Signs what goes out; runs at order 890.")
        prefix: str = Field(
            default="webhook",
            pattern=r"^[a-z0-9-]+$",
            description="How the fields begin: `webhook-id`, `-timestamp`, `-signature`; Svix also has `svix`.",
        )
        max_body_bytes: int = Field(
            default=1_048_576, ge=1, description="The most bytes of a body; a longer one is a 413."
        )

        @model_validator(mode="after")
        def _one(self) -> Webhooks.Config:
            if (self.verify is None) == (self.sign is None):
                raise ConfigError("a use either checks or signs", hint="write `verify` or `sign`")
            return self

    def setup(self, context: PluginContext) -> None:
        """Prepares the keys, and the table of messages."""
        config = self.config
        chosen = config.verify or config.sign
        self._keys = [base64.b64decode(one.get_secret_value().removeprefix(PREFIX)) for one in chosen.secrets]
        self._names = [f"{config.prefix}-{name}" for name in ("id", "timestamp", "signature")]
        self._denied = context.counter("denied")
        self._key = f"{context.name} message"
        self._clock: Callable[[], float] = time.time
        if config.sign is not None:
            self.order = 890
        if config.verify is not None and config.verify.once:
            self._seen = context.shared("seen", config.verify.memory)
            self._reserve = self._seen.capacity // 8

    async def request(self, request: Request) -> Response | None:
        """Checks, or signs."""
        if is_told_larger(request.headers, self.config.max_body_bytes):
            return Response(413, "the body is too large\n")
        body = await request.body()
        if len(body) > self.config.max_body_bytes:
            return Response(413, "the body is too large\n")
        if self.config.verify is not None:
            return self._verified(request, body, self.config.verify)
        self._sign(request, body)
        return None

    def log(self, request: Request, response: ResponseView | None) -> None:
        """Forgets a message that was not taken: the sender may send it again."""
        key = getattr(request.state, self._key, None)
        if key is not None and (response is None or response.status >= 300):
            self._seen.delete(key)

    def _verified(self, request: Request, body: bytes, verify: Verify) -> Response | None:
        for name in set(request.headers):
            if "_" in name and name.replace("_", "-") in self._names:
                del request.headers[name]  # some servers read it as the field that was checked
        values = [request.headers.get_all(name) for name in self._names]
        if any(len(one) != 1 for one in values):
            return self._refusal(verify, "a field of the webhook is missing, or there twice")
        id, moment, given = (one[0] for one in values)
        if not ID.fullmatch(id) or not TIME.fullmatch(moment):
            return self._refusal(verify, "the id or the time is not valid")
        if abs(self._clock() - int(moment)) > verify.tolerance:
            return self._refusal(verify, "the time is too far from now")
        wanted = [signature(key, id, moment, body).encode() for key in self._keys]
        signatures = [one.encode("utf-8", "replace") for one in given.split(" ")[:MOST_SIGNATURES]]
        # all are compared: the time tells nothing of which key it was
        if not sum(hmac.compare_digest(one, good) for one in signatures for good in wanted):
            return self._refusal(verify, "the signature is wrong")
        return self._remembered(request, f"{id} {moment}", verify) if verify.once else None

    def _remembered(self, request: Request, message: str, verify: Verify) -> Response | None:
        if self._seen.free_space < self._reserve:
            # nothing that still counts may be pushed out: that could come again
            self._seen.flush_expired()
            if self._seen.free_space < self._reserve:
                return Response(503, "try again later\n", headers=[("retry-after", str(verify.tolerance))])
        key = hashlib.blake2b(message.encode(), digest_size=16).digest()
        if not self._seen.add(key, 1, 2 * verify.tolerance):
            self._denied.add()
            return Response(409, "this message came before\n")
        vars(request.state)[self._key] = key
        return None

    def _sign(self, request: Request, body: bytes) -> None:
        headers, (id_name, time_name, signature_name) = request.headers, self._names
        given = headers.get_all(id_name)
        id = given[0] if len(given) == 1 and ID.fullmatch(given[0]) else f"msg_{secrets.token_hex(16)}"
        for name in set(headers):
            if name.replace("_", "-") in self._names:
                del headers[name]
        moment = str(int(self._clock()))
        headers[id_name] = id
        headers[time_name] = moment
        headers[signature_name] = " ".join(signature(key, id, moment, body) for key in self._keys)

    def _refusal(self, verify: Verify, reason: str) -> Response:
        self._denied.add()
        return Response(verify.status, f"{reason}\n")
