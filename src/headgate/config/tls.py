"""TLS to clients and to servers: certificates, and who must show one."""

import re
from typing import Annotated, Any, ClassVar, Literal, Self, TypedDict

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .errors import ConfigError
from .secrets import MASK
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

Fingerprint = Annotated[str, BeforeValidator(_pin)]
"""SHA-256 in hex, as OpenSSL prints it or with `sha256:` before it."""

Files = Annotated[tuple[str, ...], OneOrMany()]
"""Paths; relative ones start at the configuration file's folder."""


PEM = "-----BEGIN "
"""What a certificate or key that is written as a text begins with."""


class CertificateConfig(Settings):
    """A certificate and its key. Short form: a file with both, or a directory of certificates."""

    short_forms: ClassVar = ({"type": "string", "examples": ["certs/example.com.pem", "certs"]},)

    renamed: ClassVar = {"chain": "certificate"}

    certificate: str = Field(
        min_length=1,
        description=(
            "A PEM file with the certificate, followed by its issuers; on listeners also a directory of "
            "certificates. Or the PEM text itself, or a reference to it (`env:NAME`)."
        ),
    )
    key: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "A PEM file with the private key, the PEM text itself, or a reference to it (`env:NAME`, "
            "`file:/path`); default: the key is in the file of `certificate`."
        ),
    )
    names: Annotated[tuple[ServerName, ...], OneOrMany()] = Field(
        default=(), description="The server names it is used for; default: the names in the certificate."
    )
    ocsp: str | None = Field(
        default=None,
        min_length=1,
        description="A DER file with an OCSP response, sent to clients that request it.",
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"certificate": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _keeps_the_key_apart(self) -> Self:
        if MASK in self.certificate or MASK in (self.key or ""):
            raise ConfigError(
                "a masked key is not a key", hint="leave `key` out of a PATCH, or write the key itself"
            )
        if not self.certificate.startswith(PEM):
            return self
        if "PRIVATE KEY-----" in self.certificate:
            raise ConfigError("a certificate that is written as text holds its key", hint="write it as `key`")
        if self.key is None:
            raise ConfigError("a certificate that is written as text has no key", hint="add `key`")
        return self


class ClientCertificatesConfig(Settings):
    """Client certificates; every mode except `none` needs `ca`."""

    mode: ClientCertificateMode = Field(
        default="none",
        description=(
            "`optional`: requested; `required`: the handshake fails without a valid one; `routes`: 400 "
            'without a valid one, except on routes with `client_certificate: "any"`.'
        ),
    )
    ca: Files = Field(default=(), description="PEM files of trusted certificate authorities.")
    crl: Files = Field(default=(), description="PEM files of certificate revocation lists.")

    @model_validator(mode="after")
    def _trusts_somebody(self) -> Self:
        if self.mode != "none" and not self.ca:
            raise ConfigError(
                f"mode `{self.mode}` needs a certificate authority", hint="set `ca` to the authority's file"
            )
        return self


class TlsConfig(Settings):
    """TLS on a listener. Short form: its certificates."""

    short_forms: ClassVar = ({"const": "auto"}, {"like": "certificates"})

    certificates: Annotated[tuple[CertificateConfig, ...], OneOrMany()] = Field(
        default=(),
        description=(
            "The certificates, selected by server name (SNI); the first is the default. None are needed "
            "if a `client_hello` hook returns them."
        ),
    )
    local: Annotated[tuple[ServerName, ...], OneOrMany()] = Field(
        default=(),
        description="Names for which certificates are issued by a local certificate authority, for development.",
    )
    acme: bool = Field(
        default=False,
        description=(
            "Whether certificates for the hosts of routes are ordered from an ACME authority, by the "
            "gateway's `acme` settings. Short form: `tls: auto`."
        ),
    )
    policy: Policy = Field(
        default="intermediate", description="`modern`: TLS 1.3 only; `intermediate`: TLS 1.2 as well."
    )
    alpn: Annotated[tuple[Literal["h2", "http/1.1"], ...], OneOrMany()] = Field(
        default=("h2", "http/1.1"),
        description="The application protocols, in order of preference; `h2` only if `http2.enabled`.",
    )
    alpn_mismatch: Literal["refuse", "ignore"] = Field(
        default="refuse", description="What happens to a client that offers only other protocols."
    )
    unknown_names: Literal["default", "refuse"] = Field(
        default="default", description="What happens if there is no certificate for the server name."
    )
    host_mismatch: Literal["refuse", "same_certificate", "allow"] = Field(
        default="same_certificate",
        description=(
            "What happens if the Host of a request differs from the server name of the handshake: "
            "`refuse` gives 421, `same_certificate` gives 421 unless the certificate that was sent also "
            "covers the Host, `allow` accepts it."
        ),
    )
    tickets: bool = Field(default=True, description="Whether clients may resume sessions with tickets.")
    client_certificates: ClientCertificatesConfig = Field(
        default_factory=ClientCertificatesConfig, description="Client certificates."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short forms."""
        if value == "auto":
            return {"acme": True}
        is_certificate = isinstance(value, dict) and ("certificate" in value or "chain" in value)
        return {"certificates": value} if is_certificate or isinstance(value, str | list | tuple) else value


class UpstreamTlsConfig(Settings):
    """TLS to the `https://` servers of an upstream."""

    verify: bool = Field(
        default=True,
        description=(
            "Whether the server's certificate must be valid: issued by a trusted authority, for the "
            "server's name."
        ),
    )
    ca: Files = Field(
        default=(), description="PEM files of trusted certificate authorities; default: the system's."
    )
    server_name: ServerName | None = Field(
        default=None,
        description="The name to send (SNI) and verify; default: the host of each server's address.",
    )
    pins: Annotated[tuple[Fingerprint, ...], OneOrMany()] = Field(
        default=(),
        description=(
            "SHA-256 fingerprints, in hex, of certificates or public keys; the server must have one of them."
        ),
    )
    certificate: CertificateConfig | None = Field(
        default=None, description="The gateway's client certificate."
    )
    policy: Policy = Field(
        default="intermediate", description="`modern`: TLS 1.3 only; `intermediate`: TLS 1.2 as well."
    )


class CryptographyConfig(Settings):
    """Requirements on the module that implements all cryptography."""

    require_fips: bool = Field(
        default=False,
        description="Refuses to start unless the cryptographic module is AWS-LC-FIPS.",
    )


class Tls(TypedDict, total=False):
    """TLS on a listener, for `gate.listen(":8443", tls=Tls(certificates=["example.com.pem"]))`; see `TlsConfig`."""

    certificates: Any
    local: str | list[str]
    acme: bool
    policy: Policy
    alpn: str | list[str]
    alpn_mismatch: Literal["refuse", "ignore"]
    unknown_names: Literal["default", "refuse"]
    host_mismatch: Literal["refuse", "same_certificate", "allow"]
    tickets: bool
    client_certificates: Any
