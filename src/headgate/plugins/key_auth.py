"""Lets in who shows a known key, and tells servers who it is."""

from __future__ import annotations

import hashlib
import re
import secrets
from urllib.parse import unquote_plus

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response
from headgate.native import KnownKey, Native, can_set

from ._fields import FieldName, ReadName, check_value

HASHED = "sha256:"
HINT = "write the key, `env:NAME`, or `sha256:` and 64 digits"


class KeyAuth(Plugin):
    """API keys in a header field, the query or a cookie.

    The key is compared in a time that does not depend on it, and is taken out of what goes to the server. The server
    gets the consumer's name in a field that clients can never set. Responds with 401 to a key that is missing, unknown,
    or given twice. A second use on a request sees the key as it came, and its consumer counts.
    """

    class Config(BaseModel):
        """Settings of `key-auth`."""

        model_config = ConfigDict(extra="forbid")

        keys: dict[str, SecretStr | list[SecretStr]] = Field(
            default={},
            description="For each consumer its key, or several; `sha256:HEX` is the hash of one (SHA-256, in hex). "
            "The keys of the configuration's `consumers` are taken as well.",
        )
        header: ReadName | None = Field(
            default="x-api-key", description="The header field that holds the key."
        )
        scheme: str | None = Field(
            default=None, description="What stands before the key in the header field, such as `Bearer`."
        )
        query: str | None = Field(
            default=None,
            description="The query parameter that holds it; such keys end up in logs and histories.",
        )
        cookie: str | None = Field(default=None, description="The cookie that holds it.")
        consumer_header: FieldName = Field(
            default="x-consumer",
            description="The field that tells the server who it is; clients' own are removed.",
        )
        anonymous: str | None = Field(
            default=None,
            description="The consumer of requests without a key; null refuses them. A wrong one is refused.",
        )
        realm: str = Field(
            default="headgate", description="The realm in `WWW-Authenticate` (RFC 9110, 11.6.1)."
        )

        @model_validator(mode="after")
        def _somewhere(self) -> KeyAuth.Config:
            if not (self.header or self.query or self.cookie):
                raise ConfigError("keys have no source", hint="set `header`, `query` or `cookie`")
            for consumer in (*self.keys, self.anonymous or ""):
                check_value(self.consumer_header, consumer)
            return self

    def setup(self, context: PluginContext) -> None:
        """Hashes the keys: what is looked up is not a text that a client chose."""
        self._secret = secrets.token_bytes(32)
        self._log = context.log
        self._denied = context.counter("denied")
        self._consumers: dict[bytes, str] = {}
        self._hashes: dict[str, str] = {}
        self._configured = context.consumers
        config = self.config
        self._place = f"key in {config.header} {config.scheme} {config.query} {config.cookie}".lower()
        context.remove_from_clients(self.config.consumer_header)
        if self.config.query:
            context.mask_query(self.config.query)
        for consumer, given in self.config.keys.items():
            for key in given if isinstance(given, list) else [given]:
                self._add(consumer, key.get_secret_value())

    def native(self) -> Native:
        """One known key, in the one place where keys are; the hook decides on the rest."""
        config = self.config
        if config.header is None or config.scheme or config.query or config.cookie or not self._hashes:
            return Native()
        owners = set(self._hashes.values())
        if not (can_set(config.header) and all(can_set(config.consumer_header, one) for one in owners)):
            return Native()
        known = KnownKey(
            config.header, sorted(self._hashes.items()), config.consumer_header, state="consumer"
        )
        return Native(request=[known], alone=True)

    def request(self, request: Request) -> Response | None:
        """Decides."""
        state = vars(request.state)
        given = self._credentials(request) or state.get(self._place, ())
        if not given and self.config.anonymous is not None:
            self._let_in(request, self.config.anonymous)
            return None
        consumer = self._consumer(given[0]) if len(given) == 1 else None
        if consumer is None:
            self._denied.add()
            reason = "no key" if not given else "several keys" if len(given) > 1 else "unknown key"
            self._log.info("refused", extra={"reason": reason, "request_id": request.id})
            challenge = f'Key realm="{self.config.realm}"'
            return Response(401, "a key is missing or unknown\n", headers=[("www-authenticate", challenge)])
        state[self._place] = given  # another use may ask for it
        self._strip(request)
        self._let_in(request, consumer)
        return None

    def _let_in(self, request: Request, consumer: str) -> None:
        request.headers[self.config.consumer_header] = consumer
        request.state.consumer = consumer

    def _add(self, consumer: str, key: str) -> None:
        if not key:
            raise ConfigError(f"the key of consumer `{consumer}` is empty", hint=HINT)
        if key.startswith(HASHED) and not re.fullmatch("[0-9a-fA-F]{64}", key.removeprefix(HASHED)):
            raise ConfigError(
                f"the key of consumer `{consumer}` is not a valid SHA-256 hash in hex", hint=HINT
            )
        digest = bytes.fromhex(key.removeprefix(HASHED)) if key.startswith(HASHED) else _hashed(key)
        tag = self._tag(digest)
        self._hashes[digest.hex()] = consumer
        if self._consumers.setdefault(tag, consumer) != consumer:
            raise ConfigError(
                f"consumers `{self._consumers[tag]}` and `{consumer}` have the same key",
                hint="give each a key of its own",
            )

    def _tag(self, digest: bytes) -> bytes:
        # Keyed with a secret of this process: how long a look-up takes tells a client nothing of the keys.
        return hashlib.blake2b(digest, digest_size=32, key=self._secret).digest()

    def _consumer(self, key: str) -> str | None:
        if own := self._consumers.get(self._tag(_hashed(key))):
            return own
        found = self._configured.with_key(key)
        return found.name if found else None

    def _credentials(self, request: Request) -> list[str]:
        """Every key in the request, in whatever place."""
        config, found = self.config, []
        for value in request.headers.get_all(config.header) if config.header else []:
            scheme, _, key = value.partition(" ")
            if config.scheme is None:
                found.append(value)
            elif scheme.lower() == config.scheme.lower():
                found.append(key.strip())
        if config.query:
            found += request.query_params.getlist(config.query)
        if config.cookie:
            found += _cookies(request, config.cookie)
        return found

    def _strip(self, request: Request) -> None:
        """Takes the key out of what goes to the server."""
        config = self.config
        if config.header:
            request.headers.pop(config.header, None)
        if config.query and request.query:
            kept = [
                one for one in request.query.split("&") if unquote_plus(one.partition("=")[0]) != config.query
            ]
            request.target = request.path + (f"?{'&'.join(kept)}" if kept else "")
        if config.cookie and "cookie" in request.headers:
            cookies = [one for field in request.headers.get_all("cookie") for one in field.split(";")]
            others = [one.strip() for one in cookies if one.partition("=")[0].strip() != config.cookie]
            del request.headers["cookie"]
            if others:
                request.headers["cookie"] = "; ".join(others)


def _cookies(request: Request, name: str) -> list[str]:
    """The values of a cookie, which may have been sent several times."""
    fields = request.headers.get_all("cookie")
    pairs = [one.partition("=")[0].strip() for field in fields for one in field.split(";")]
    own = request.cookies.get(name)
    return [] if own is None else [own] * max(1, pairs.count(name))


def _hashed(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
