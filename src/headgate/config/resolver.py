"""How names of servers are looked up in DNS: whom to ask, how often, and what to do where nobody responds."""

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self, TypedDict

from pydantic import AfterValidator, Field, model_validator

from headgate._digits import whole_number

from .errors import ConfigError
from .registries import (
    ConsulConfig,
    ConsulOptions,
    DockerConfig,
    DockerOptions,
    KubernetesConfig,
    KubernetesOptions,
)
from .settings import OneOrMany, Settings
from .units import MAX_COUNT, Duration, Share

Family = Literal["auto", "ipv4", "ipv6", "both"]
"""Which of a name's addresses are servers."""

DNS_PORT, DNS_TLS_PORT = 53, 853
TLS_SCHEME = "tls://"
_LABELS = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")


class NameServer(NamedTuple):
    """Who is asked: an address and a port."""

    host: str
    port: int
    certified_name: str = ""
    """What its certificate must be for, where it is asked over TLS (RFC 7858); empty: it is not."""


def parse_name_server(text: str) -> NameServer:
    """`10.0.0.53`, `10.0.0.53:5353`, `fd00::53`, `[fd00::53]:5353`, or over TLS `tls://10.0.0.53:853#dns.internal`;
    raises `ConfigError`.
    """
    is_secure = text.startswith(TLS_SCHEME)
    bare, _, name = text.removeprefix(TLS_SCHEME).partition("#")
    host, port = bare, str(DNS_TLS_PORT if is_secure else DNS_PORT)
    if bare.startswith("[") and "]" in bare:
        host, _, rest = bare[1:].partition("]")
        port = rest.removeprefix(":") if rest else port
    elif bare.count(":") == 1:
        host, _, port = bare.partition(":")
    try:
        if "#" in text and not (is_secure and _LABELS.fullmatch(name)):
            raise ValueError
        address = str(ipaddress.ip_address(host))
        if not 1 <= (whole_number(port) or 0) <= 65535:
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"`{text}` is not the address of a name server",
            hint="write `10.0.0.53`, `10.0.0.53:5353` or `tls://10.0.0.53#dns.internal`; nobody could look up a name",
        ) from None
    return NameServer(address, int(port), (name or address) if is_secure else "")


def _name_server(text: str) -> str:
    parse_name_server(text)
    return text


def _domain(text: str) -> str:
    if not _LABELS.fullmatch(text):
        raise ConfigError(f"`{text}` is not a domain", hint="write `svc.cluster.local`")
    return text.rstrip(".")


class ResolverConfig(Settings):
    """The lookup of servers' names in DNS and in registries, by one process of the node."""

    servers: Annotated[tuple[Annotated[str, AfterValidator(_name_server)], ...], OneOrMany()] = Field(
        default=(),
        description="Name servers, as `10.0.0.53`, `10.0.0.53:5353`, or over TLS (RFC 7858) `tls://10.0.0.53` with a "
        "certificate for that address or for a name: `tls://10.0.0.53#dns.internal`. Default: those of "
        "`/etc/resolv.conf`.",
    )
    ca: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="The whole path of the file with the authorities of name servers that are asked over TLS; default: "
        "those of the system.",
    )
    search: Annotated[tuple[Annotated[str, AfterValidator(_domain)], ...], OneOrMany()] | None = Field(
        default=None,
        description="Domains that short names are looked up in; default: those of `/etc/resolv.conf`, "
        "or none with `servers`.",
    )
    ndots: Annotated[int, Field(ge=0, le=15)] | None = Field(
        default=None,
        description="Names with so many dots are looked up as they are first; default: as `/etc/resolv.conf` "
        "says, or 1.",
    )
    hosts: bool = Field(default=True, description="Whether names of `/etc/hosts` are taken from there.")
    family: Family = Field(
        default="auto",
        description="Which addresses are servers: `ipv4`, `ipv6`, `both`, or `auto`: those of IPv4 if this host has "
        "a route to one, else those of IPv6.",
    )
    min_ttl: Duration = Field(
        default=5.0, gt=0, description="A name is not looked up again sooner, however short its TTL."
    )
    max_ttl: Duration = Field(
        default=60.0, gt=0, description="A name is looked up again after this time, however long its TTL."
    )
    timeout: Duration = Field(default=2.0, gt=0, description="How long one name server may take.")
    attempts: int = Field(
        default=2, ge=1, le=MAX_COUNT, description="How often each name server is asked for one lookup."
    )
    keep: Duration = Field(
        default=86_400.0, description="How long known addresses are used while lookups fail (RFC 8767)."
    )
    hold: Duration = Field(
        default=60.0,
        description="How long the last servers are used where a registry lists none any more, or suspiciously few; "
        "0: what it lists is believed at once.",
    )
    suspect_below: Share = Field(
        default=0.0,
        description="The part of the servers before, below which a registry's list is held for suspect.",
    )
    consul: ConsulConfig | None = Field(
        default=None, description="The agent of Consul, for servers `consul:NAME`; null: on this machine."
    )
    kubernetes: KubernetesConfig | None = Field(
        default=None,
        description="The API server, for servers `kubernetes:NAME`; null: of the gateway's own cluster.",
    )
    docker: DockerConfig | None = Field(
        default=None, description="The engine, for servers `docker:NAME`; null: `unix:/var/run/docker.sock`."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if {"min_ttl", "max_ttl"} <= self.model_fields_set and self.min_ttl > self.max_ttl:
            raise ConfigError(
                "`min_ttl` is longer than `max_ttl`", hint="a name is looked up again between the two"
            )
        for key in ("consul", "kubernetes"):
            registry = getattr(self, key)
            if (
                registry
                and registry.ca
                and not (Path(registry.ca).is_absolute() and Path(registry.ca).is_file())
            ):
                raise ConfigError(
                    f"the file `{registry.ca}` does not exist", hint="name a PEM file, with its whole path"
                )
        if self.ca is None:
            return self
        if not any(server.startswith(TLS_SCHEME) for server in self.servers):
            raise ConfigError(
                "`ca` is for name servers that are asked over TLS", hint="write `servers: tls://10.0.0.53`"
            )
        if not (Path(self.ca).is_absolute() and Path(self.ca).is_file()):
            raise ConfigError(
                f"the file `{self.ca}` does not exist", hint="name a PEM file, with its whole path"
            )
        return self


class ResolverOptions(TypedDict, total=False):
    """The keywords of `Gateway.resolver`; see `ResolverConfig`."""

    servers: str | Sequence[str]
    ca: str
    search: str | Sequence[str]
    ndots: int
    hosts: bool
    family: Family
    min_ttl: float | str
    max_ttl: float | str
    timeout: float | str
    attempts: int
    keep: float | str
    hold: float | str
    suspect_below: float | str
    consul: str | ConsulOptions
    kubernetes: KubernetesOptions
    docker: str | DockerOptions
