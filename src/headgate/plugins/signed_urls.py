"""URLs that hold for a while and cannot be changed: a signature and an expiry in the query."""

from __future__ import annotations

import hmac
import re
import time

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response
from headgate.native import Native, SignedTarget

MORE = re.compile(r"[&;]")


class SignedUrls(Plugin):
    """Lets in only requests whose URL was signed with a key and has not expired.

    Signed is `METHOD`, a line feed, the path as it is sent, `?` and the query without the signature, which comes last:
    `/file.zip?expires=1790000000&signature=HEX` (HMAC-SHA-256). Of several `keys` each is good, so that they can be
    changed. Both parameters are removed before the request is forwarded. HEAD is signed as GET. A second use on a
    request checks the same signature, or, if its parameters have other names, one that was made before the first's.
    """

    order = -40

    class Config(BaseModel):
        """Settings of `signed-urls`."""

        model_config = ConfigDict(extra="forbid")

        keys: list[SecretStr] = Field(min_length=1, description="Keys of 16 characters or more.")
        expires: str = Field(
            default="expires", description="The parameter with the end, in seconds since 1970."
        )
        signature: str = Field(default="signature", description="The parameter with the signature.")
        longest: int | None = Field(
            default=None, ge=1, description="The most seconds that a URL may hold from now on; null is any."
        )
        status: int = Field(default=403, ge=400, le=599, description="The status of a refusal.")

        @field_validator("keys")
        @classmethod
        def _keys(cls, keys: list[SecretStr]) -> list[SecretStr]:
            if any(len(key.get_secret_value()) < 16 for key in keys):
                raise ConfigError("a key is too short", hint="create one with `openssl rand -hex 32`")
            return keys

    def setup(self, context: PluginContext) -> None:
        """Prepares the keys."""
        self._keys = [key.get_secret_value().encode() for key in self.config.keys]
        self._denied = context.counter("denied")
        self._key = f"signed by {self.config.expires} {self.config.signature}"

    def native(self) -> Native:
        """URLs that hold, where it is used once."""
        config, keys = self.config, [key.hex() for key in self._keys]
        longest = None if config.longest is None else min(config.longest, 2**62)
        signed = SignedTarget(keys, config.expires, config.signature, longest)
        return Native(request=[signed], alone=True)

    def request(self, request: Request) -> Response | None:
        """Checks the signature, then the time."""
        separator = f"&{self.config.signature}="
        target, state = request.target, vars(request.state)
        is_first = separator in target
        signed, _, given = (target if is_first else state.get(self._key, "")).rpartition(separator)
        query = signed.partition("?")[2]
        end = self._end(query)
        method = "GET" if request.method == "HEAD" else request.method
        if end is None or not any(
            hmac.compare_digest(
                signature(key, method, signed).encode(), given.lower().encode("utf-8", "replace")
            )
            for key in self._keys
        ):
            return self._refusal("the signature is missing or wrong")
        left = end - time.time()
        if left < 0 or (self.config.longest is not None and left > self.config.longest):
            return self._refusal("the URL does not hold any more")
        if not is_first:
            return None
        state[self._key] = target
        kept = "&".join(part for part in query.split("&") if part.partition("=")[0] != self.config.expires)
        request.target = request.path + (f"?{kept}" if kept else "")
        return None

    def _end(self, query: str) -> int | None:
        values = [
            part.partition("=")[2]
            for part in MORE.split(query)
            if part.partition("=")[0] == self.config.expires
        ]
        # twice would be a question of who reads which
        return int(values[0]) if len(values) == 1 and re.fullmatch(r"[0-9]{1,12}", values[0]) else None

    def _refusal(self, reason: str) -> Response:
        self._denied.add()
        return Response(self.config.status, f"{reason}\n")


def signature(key: bytes, method: str, target: str) -> str:
    """The signature of a target that has its expiry in the query."""
    told = f"{method}\n{target}".encode("utf-8", "surrogateescape")
    return hmac.digest(key, told, "sha256").hex()
