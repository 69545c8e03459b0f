"""How names of servers are looked up in DNS: whom to ask, how often, and what to do where nobody responds."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, TypedDict

from pydantic import AfterValidator, Field

from .errors import ConfigError
from .settings import OneOrMany, Settings
from .units import MAX_COUNT, Duration

Family = Literal["auto", "ipv4", "ipv6", "both"]
"""Which of a name's addresses are servers."""

DNS_PORT = 53
_LABELS = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")


class NameServer(NamedTuple):
    """Who is asked: an address and a port."""

    host: str
    port: int


def parse_name_server(text: str) -> NameServer:
    """`10.0.0.53`, `10.0.0.53:5353`, `fd00::53` or `[fd00::53]:5353`; raises `ConfigError`."""
    host, port = text, str(DNS_PORT)
    if text.startswith("[") and "]" in text:
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = str(ipaddress.ip_address(host))
        if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"`{text}` is not the address of a name server",
            hint="write an IP address such as `10.0.0.53` or `10.0.0.53:5353`; nobody could look up a name",
        ) from None
    return NameServer(address, int(port))


def _name_server(text: str) -> str:
    parse_name_server(text)
    return text


def _domain(text: str) -> str:
    if not _LABELS.fullmatch(text):
        raise ConfigError(f"`{text}` is not a domain", hint="write `svc.cluster.local`")
    return text.rstrip(".")


class ResolverConfig(Settings):
    """The lookup of servers' names in DNS, by one process of the node."""

    servers: Annotated[tuple[Annotated[str, AfterValidator(_name_server)], ...], OneOrMany()] = Field(
        default=(),
        description="Name servers, as `10.0.0.53` or `10.0.0.53:5353`; default: those of `/etc/resolv.conf`.",
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


class ResolverOptions(TypedDict, total=False):
    """The keywords of `Gateway.resolver`; see `ResolverConfig`."""

    servers: str | Sequence[str]
    search: str | Sequence[str]
    ndots: int
    hosts: bool
    family: Family
    min_ttl: float | str
    max_ttl: float | str
    timeout: float | str
    attempts: int
    keep: float | str
