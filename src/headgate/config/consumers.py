"""Consumers: who uses the gateway, by which credentials plugins know them, and the groups they are in."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from .errors import ConfigError
from .plugin_sets import SetNames
from .secrets import Secret
from .settings import OneOrMany, Settings
from .tls import Fingerprint

CONSUMER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,99}")
SHA256 = "sha256:"


def _key(value: Any) -> Any:
    text = value.get_secret_value()
    if text.startswith(SHA256) and not re.fullmatch("[0-9a-fA-F]{64}", text.removeprefix(SHA256)):
        raise ConfigError("a key is not a SHA-256 hash in hex", hint="`sha256:` and 64 hex digits")
    return value


Key = Annotated[Secret, AfterValidator(_key)]
"""A key or password; `sha256:` and its digest in hex says as much."""


class BasicCredential(Settings):
    """A name and a password (RFC 7617)."""

    username: str = Field(min_length=1, pattern=r"^[^:\x00-\x1f\x7f]+$", description="Without `:`.")
    password: Key = Field(description="The password, or `sha256:HEX` of it.")


class JwtCredential(Settings):
    """A key that signs JSON Web Tokens (RFC 7519)."""

    id: str = Field(min_length=1, description="What tokens name it by, as `kid` or `iss`.")
    algorithm: Literal["HS256", "HS384", "HS512", "RS256", "PS256", "ES256", "EdDSA"] = Field(
        default="HS256", description="The only one that is taken for this key."
    )
    key: Secret = Field(description="The shared secret (`HS...`), or the public key as PEM.")


class HmacCredential(Settings):
    """A secret that signs requests."""

    id: str = Field(min_length=1, description="What requests name it by.")
    secret: Secret = Field(description="The shared secret.")


class ConsumerConfig(Settings):
    """Somebody who uses the gateway; one or several keys are the short form."""

    short_forms: ClassVar = ({"like": "keys"},)

    keys: Annotated[tuple[Key, ...], OneOrMany()] = Field(
        default=(), description="Keys for `key-auth`; `sha256:HEX` is the hash of one."
    )
    basic: Annotated[tuple[BasicCredential, ...], OneOrMany()] = Field(
        default=(), description="Names and passwords."
    )
    jwt: Annotated[tuple[JwtCredential, ...], OneOrMany()] = Field(
        default=(), description="Keys of the tokens that it signs."
    )
    hmac: Annotated[tuple[HmacCredential, ...], OneOrMany()] = Field(
        default=(), description="Secrets of the requests that it signs."
    )
    certificates: Annotated[tuple[Fingerprint, ...], OneOrMany()] = Field(
        default=(), description="SHA-256 fingerprints of its client certificates, in hex."
    )
    groups: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], OneOrMany()] = Field(
        default=(), description="Groups it is in."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="Whatever else plugins are to know; those of its groups are added."
    )
    plugin_sets: SetNames = Field(
        default=(), description="Sets of plugins that are used on its requests, by name."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"keys": value} if isinstance(value, str | list | tuple) else value

    @model_validator(mode="after")
    def _gives_each_once(self) -> Self:
        names = credentials(self)
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"a {twice[0]} is given twice", hint="leave one of them out")
        return self


class ConsumerGroupConfig(Settings):
    """What consumers in a group have in common; a consumer names its groups."""

    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Labels of each of its consumers; a consumer's own, and those of its earlier groups, come first.",
    )
    plugin_sets: SetNames = Field(
        default=(), description="Sets of plugins that are used on the requests of its consumers, by name."
    )


def plain_consumers(
    consumers: Mapping[str, ConsumerConfig], groups: Mapping[str, ConsumerGroupConfig]
) -> dict[str, Any]:
    """Consumers as JSON knows them, with the labels of their groups and with their secrets: for workers only."""
    return {name: _plain(one, groups) for name, one in consumers.items()}


def _plain(one: ConsumerConfig, groups: Mapping[str, ConsumerGroupConfig]) -> dict[str, Any]:
    labels: dict[str, str] = {}
    for group in reversed(one.groups):
        labels |= groups[group].labels if group in groups else {}
    return {
        "keys": [key.get_secret_value() for key in one.keys],
        "basic": [[each.username, each.password.get_secret_value()] for each in one.basic],
        "jwt": [[each.id, each.algorithm, each.key.get_secret_value()] for each in one.jwt],
        "hmac": [[each.id, each.secret.get_secret_value()] for each in one.hmac],
        "certificates": list(one.certificates),
        "groups": list(one.groups),
        "labels": {**labels, **one.labels},
    }


def credentials(one: ConsumerConfig) -> list[tuple[str, str]]:
    """What no two consumers may have in common: the kind, and what tells it from others."""
    return [
        *(("key", key.get_secret_value()) for key in one.keys),
        *(("basic name", each.username) for each in one.basic),
        *(("JWT key", each.id) for each in one.jwt),
        *(("HMAC key", each.id) for each in one.hmac),
        *(("certificate", each) for each in one.certificates),
    ]
