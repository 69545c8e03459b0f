"""TLS to clients and to servers: certificates, and who must show one."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self, TypedDict

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .errors import ConfigError
from .settings import OneOrMany, Settings

Policy = Literal["modern", "intermediate"]
"""`modern` is TLS 1.3 alone, `intermediate` TLS 1.2 and 1.3."""

ClientCertificateMode = Literal["none", "optional", "required", "routes"]
"""Whether clients are asked for a certificate, and what happens without."""

RouteCertificate = Literal["any", "required"]
"""Whether a route wants a valid client certificate, whatever its listener says."""

_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*|[0-9A-Fa-f.:]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _server_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ConfigError(
            f"`{value}` is not a valid host name", hint="write `example.com` or `*.example.com`"
        )
    return value.lower().rstrip(".")


def _pin(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    digest = value.removeprefix("sha256:").replace(":", "").lower()
    if not _DIGEST.fullmatch(digest):
        raise ConfigError(
            f"`{value}` is not a valid SHA-256 fingerprint",
            hint="64 hex digits, as `openssl x509 -noout -fingerprint -sha256` prints them",
        )
    return digest


ServerName = Annotated[str, AfterValidator(_server_name)]
"""A host name; `*.` before it stands for one label."""

Files = Annotated[tuple[str, ...], OneOrMany()]
"""Paths; relative ones start at the configuration file's folder."""


class CertificateConfig(Settings):
    """A certificate and its key; one file that holds both, or a folder of many, is the short form."""

    short_forms: ClassVar = ({"type": "string", "examples": ["certs/example.com.pem", "certs"]},)

    renamed: ClassVar = {"chain": "certificate"}

    certificate: str = Field(
        min_length=1,
        description="PEM file: the certificate first, then its issuers; on listeners also a folder of many.",
    )
    key: str | None = Field(
        default=None,
        min_length=1,
        description="PEM file of the private key; none given: `certificate` holds it too.",
    )
    names: Annotated[tuple[ServerName, ...], OneOrMany()] = Field(
        default=(), description="Names it is given for; none given: those that stand in it."
    )
    ocsp: str | None = Field(
        default=None,
        min_length=1,
        description="DER file of an OCSP response, sent to clients that ask for it.",
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"certificate": value} if isinstance(value, str) else value


class ClientCertificatesConfig(Settings):
    """What clients are asked for; the mode alone is not enough where there is one: `ca` says whom to trust."""

    mode: ClientCertificateMode = Field(
        default="none",
        description="`optional`: asked for; `required`: no connection without a valid one; `routes`: 400 without"
        ' a valid one, but on routes with `client_certificate: "any"`.',
    )
    ca: Files = Field(default=(), description="PEM files of the authorities that are trusted.")
    crl: Files = Field(default=(), description="PEM files of revocation lists.")

    @model_validator(mode="after")
    def _trusts_somebody(self) -> Self:
        if self.mode != "none" and not self.ca:
            raise ConfigError(
                f"mode `{self.mode}` trusts no authority", hint="name the authority's file in `ca`"
            )
        return self


class TlsConfig(Settings):
    """TLS on a listener; its certificates alone are the short form."""

    short_forms: ClassVar = ({"like": "certificates"},)

    certificates: Annotated[tuple[CertificateConfig, ...], OneOrMany()] = Field(
        default=(),
        description="Which one a client gets is decided by the name it asks for; the first is the default. None are"
        " needed where a `client_hello` hook gives them.",
    )
    local: Annotated[tuple[ServerName, ...], OneOrMany()] = Field(
        default=(),
        description="Names that get a certificate of this machine's own authority: for development.",
    )
    policy: Policy = Field(
        default="intermediate", description="`modern`: TLS 1.3 only; `intermediate`: TLS 1.2 as well."
    )
    alpn: Annotated[tuple[Literal["h2", "http/1.1"], ...], OneOrMany()] = Field(
        default=("h2", "http/1.1"),
        description="The application protocols offered, best first; `h2` only while `http2.enabled`.",
    )
    alpn_mismatch: Literal["refuse", "ignore"] = Field(
        default="refuse", description="What happens to a client that offers other protocols only."
    )
    unknown_names: Literal["default", "refuse"] = Field(
        default="default", description="What happens to a client that asks for a name without a certificate."
    )
    host_mismatch: Literal["refuse", "same_certificate", "allow"] = Field(
        default="same_certificate",
        description="What happens to a request whose Host is not the name asked for in the handshake: 421, 421 unless"
        " the certificate that was shown covers that host too, or nothing.",
    )
    tickets: bool = Field(default=True, description="Whether clients may resume sessions.")
    client_certificates: ClientCertificatesConfig = Field(
        default_factory=ClientCertificatesConfig, description="What clients are asked for."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short forms."""
        is_certificate = isinstance(value, dict) and ("certificate" in value or "chain" in value)
        return {"certificates": value} if is_certificate or isinstance(value, str | list | tuple) else value


class UpstreamTlsConfig(Settings):
    """TLS to the `https://` servers of an upstream."""

    verify: bool = Field(
        default=True,
        description="Whether servers must show a certificate of a trusted authority for their name.",
    )
    ca: Files = Field(
        default=(), description="PEM files of the authorities that are trusted; none given: the system's."
    )
    server_name: ServerName | None = Field(
        default=None,
        description="The name asked for and verified; none given: the host of each server's address.",
    )
    pins: Annotated[tuple[Annotated[str, BeforeValidator(_pin)], ...], OneOrMany()] = Field(
        default=(),
        description="SHA-256 fingerprints, in hex, of certificates or their public keys; one must be the server's.",
    )
    certificate: CertificateConfig | None = Field(
        default=None, description="What the gateway shows to servers that ask."
    )
    policy: Policy = Field(
        default="intermediate", description="`modern`: TLS 1.3 only; `intermediate`: TLS 1.2 as well."
    )


class CryptographyConfig(Settings):
    """What is demanded of the module that does all cryptography."""

    require_fips: bool = Field(
        default=False,
        description="Refuses to start unless the cryptographic module is the FIPS-validated one.",
    )


class Tls(TypedDict, total=False):
    """TLS on a listener, for `gate.listen(":8443", tls=Tls(certificates=["example.com.pem"]))`; see `TlsConfig`."""

    certificates: Any
    local: str | list[str]
    policy: Policy
    alpn: str | list[str]
    alpn_mismatch: Literal["refuse", "ignore"]
    unknown_names: Literal["default", "refuse"]
    host_mismatch: Literal["refuse", "same_certificate", "allow"]
    tickets: bool
    client_certificates: Any
