"""Certificates that an ACME authority such as Let's Encrypt gives by itself (RFC 8555)."""

from typing import Annotated, Any, ClassVar, Literal, Self, TypedDict
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from .acme_on_demand import OnDemandConfig
from .errors import ConfigError, suggestion
from .secrets import Secret
from .settings import OneOrMany, Settings
from .tls import ServerName
from .units import Duration

Challenge = Literal["http-01", "tls-alpn-01", "dns-01"]
"""How control of a name is proven: by a file over HTTP on port 80, in a TLS handshake on port 443, or in DNS."""

KeyType = Literal["ecdsa", "rsa"]
"""P-256, or RSA of 2,048 bits."""

SHORTEST_KEY = 32
"""Characters of a secret from which a key is derived."""

DIRECTORIES = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
    "zerossl": "https://acme.zerossl.com/v2/DV90",
    "google": "https://dv.acme-v02.api.pki.goog/directory",
    "buypass": "https://api.buypass.com/acme/directory",
}
"""Authorities by short name."""


def _directory(value: str) -> str:
    if value in DIRECTORIES:
        return DIRECTORIES[value]
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname:
        hint = suggestion(value, DIRECTORIES) or "write the URL of its directory, or " + ", ".join(
            f"`{name}`" for name in DIRECTORIES
        )
        raise ConfigError(f"`{value}` is not a valid ACME authority", hint=hint)
    return value


Directory = Annotated[str, AfterValidator(_directory)]
"""The URL of an authority's directory, which is `https`, or its short name."""


class EabConfig(Settings):
    """External account binding (RFC 8555 section 7.3.4): the authority's own customer."""

    key_id: str = Field(min_length=1, description="The key's identifier, as the authority gave it.")
    key: Secret = Field(description="The MAC key in base64url, as `env:NAME` or `file:/path`.")


class _Authority(Settings):
    """An authority."""

    directory: Directory = Field(
        default="letsencrypt",
        validate_default=True,
        description="Its directory's URL, or `letsencrypt`, `letsencrypt-staging`, `zerossl`, `google`, `buypass`.",
    )
    ca: str | None = Field(
        default=None,
        min_length=1,
        description="A PEM file with the certificate authority of the directory's own server; null: the system's.",
    )
    eab: EabConfig | None = Field(
        default=None, description="External account binding, if the authority requires it."
    )
    profile: str | None = Field(
        default=None,
        min_length=1,
        description="The kind of certificate, such as `shortlived`; null: its default.",
    )
    preferred_chain: str | None = Field(
        default=None, min_length=1, description="Common name of the issuer that the chain should end with."
    )


class AcmeAuthorityConfig(_Authority):
    """An authority; its URL or short name alone is the short form."""

    short_forms: ClassVar = ({"type": "string", "examples": ["letsencrypt", "zerossl"]},)

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"directory": value} if isinstance(value, str) else value


class AcmeDnsConfig(Settings):
    """Where DNS-01 records are written."""

    provider: str = Field(
        min_length=1,
        description="`rfc2136` (dynamic update of a DNS server), or one that dns-lexicon knows, such as `cloudflare`.",
    )
    options: dict[str, Secret] = Field(
        default_factory=dict,
        description=(
            "For `rfc2136`: `server`, `port`, `zone`, `key_name`, `key_secret`, `key_algorithm`; for "
            "others the options of dns-lexicon, such as `auth_token`. `env:NAME` and `file:/path` refer "
            "to secrets."
        ),
    )
    wait: Duration = Field(
        default=120.0, description="The maximum time until every name server has the record."
    )
    servers: Annotated[tuple[str, ...], OneOrMany()] = Field(
        default=(),
        description="Name servers that are queried for the record; default: those of the zone.",
    )


class AcmeConfig(_Authority):
    """Ordering and renewing certificates for listeners with `tls: {acme: true}`."""

    email: str | None = Field(
        default=None,
        pattern=r"^[^@\s]+@[^@\s]+$",
        description="The contact address for notices of the authority.",
    )
    staging: bool = Field(
        default=False,
        description=(
            "Uses Let's Encrypt's staging environment, whose certificates browsers do not trust and whose "
            "rate limits are high."
        ),
    )
    fallback: Annotated[tuple[AcmeAuthorityConfig, ...], OneOrMany()] = Field(
        default=(), description="Fallback authorities, tried in order when the first one fails."
    )
    challenges: Annotated[tuple[Challenge, ...], OneOrMany()] = Field(
        default=("tls-alpn-01", "http-01"),
        min_length=1,
        description="The challenge types, in order of preference; wildcards need `dns-01`.",
    )
    dns: AcmeDnsConfig | None = Field(default=None, description="The DNS provider for DNS-01 records.")
    names: Annotated[tuple[ServerName, ...], OneOrMany()] = Field(
        default=(),
        description="Additional names for which certificates are ordered, besides the hosts of routes.",
    )
    on_demand: OnDemandConfig | None = Field(
        default=None,
        description="Ordering certificates when the first client asks for their name; default: not done.",
    )
    key_types: Annotated[tuple[KeyType, ...], OneOrMany()] = Field(
        default=("ecdsa",), min_length=1, description="The key types; one certificate is ordered for each."
    )
    reuse_key: bool = Field(default=False, description="Whether a renewed certificate keeps its key.")
    folder: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "The directory for accounts and certificates; null: `acme` next to the state directories of "
            "gateways, `/var/lib/headgate/acme` for root."
        ),
    )

    store: Secret | None = Field(
        default=None,
        description=(
            "A store by which several nodes share accounts, certificates and challenges, apart from that of the "
            "configuration, such as `redis://10.0.0.5?name=acme`; default: the folder alone."
        ),
    )
    store_keys: Annotated[tuple[Secret, ...], OneOrMany()] = Field(
        default=(),
        description=(
            "Secrets of at least 32 characters by which everything in the store is encrypted; the first encrypts, "
            "all decrypt. `env:NAME` and `file:/path` refer to secrets."
        ),
    )

    @model_validator(mode="after")
    def _keeps_its_secrets(self) -> Self:
        if (self.store is None) != (not self.store_keys):
            raise ConfigError(
                "`store` without `store_keys`" if self.store else "`store_keys` without `store`",
                hint="private keys are kept encrypted: `openssl rand -base64 32` prints a key",
            )
        if any(len(key.get_secret_value()) < SHORTEST_KEY for key in self.store_keys):
            raise ConfigError(
                f"one of `store_keys` has fewer than {SHORTEST_KEY} characters",
                hint="`openssl rand -base64 32` prints a key",
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if "dns-01" in self.challenges and self.dns is None:
            raise ConfigError(
                "`dns-01` without `dns`", hint="say where records are written: `dns: {provider: ...}`"
            )
        if self.staging and self.directory != DIRECTORIES["letsencrypt"]:
            raise ConfigError(
                "`staging` is for Let's Encrypt only", hint="leave it out, and name another `directory`"
            )
        wildcards = [name for name in self.names if name.startswith("*.")]
        if wildcards and "dns-01" not in self.challenges:
            raise ConfigError(
                f"a certificate for `{wildcards[0]}` needs the challenge `dns-01`",
                hint="add `dns-01` to `challenges`, and `dns`",
            )
        return self

    def authorities(self) -> list[AcmeAuthorityConfig]:
        """Whom to ask, best first."""
        fields = {name: getattr(self, name) for name in AcmeAuthorityConfig.model_fields}
        if self.staging:
            fields["directory"] = DIRECTORIES["letsencrypt-staging"]
        return [AcmeAuthorityConfig.model_construct(**fields), *self.fallback]


class AcmeOptions(TypedDict, total=False):
    """How certificates are ordered, for `gate.acme(email="ops@example.com")`; see `AcmeConfig`."""

    directory: str
    ca: str
    eab: dict[str, str]
    profile: str
    preferred_chain: str
    email: str
    staging: bool
    fallback: Any
    challenges: Challenge | list[Challenge]
    dns: dict[str, Any]
    names: str | list[str]
    on_demand: str | dict[str, Any]
    key_types: KeyType | list[KeyType]
    reuse_key: bool
    folder: str
    store: str
    store_keys: str | list[str]
