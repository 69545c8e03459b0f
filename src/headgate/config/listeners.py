"""Listeners: where clients connect, and what is said there before HTTP."""

import ipaddress
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from .addresses import UnixAddress, parse_listen_address
from .errors import ConfigError
from .hooks import ListenerHooksConfig, StreamHooksConfig
from .patterns import check_host
from .plugin_sets import SetNames
from .settings import OneOrMany, Settings
from .sockets import SocketMode
from .tls import TlsConfig
from .units import MAX_COUNT, Duration

ProxyProtocol = Literal["v1", "v2", "any"]
"""Which versions of the PROXY protocol are accepted."""


def check_network(value: str) -> str:
    """`10.0.0.0/8`, `2001:db8::/32`, one address, or `unix:` for every Unix socket."""
    if value == "unix:":
        return value
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ConfigError(
            f"`{value}` is not a valid network", hint="write `10.0.0.0/8`, `2001:db8::1` or `unix:`"
        ) from None


Networks = Annotated[tuple[Annotated[str, AfterValidator(check_network)], ...], OneOrMany()]
"""Networks in CIDR notation."""

ListenAddress = Annotated[
    str,
    BeforeValidator(lambda value: str(parse_listen_address(value))),
    WithJsonSchema({"type": ["string", "integer"]}),
]
"""`:8080`, `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/gate.sock`."""


def _udp_address(value: Any) -> str:
    address = parse_listen_address(value)
    if isinstance(address, UnixAddress):
        raise ConfigError(f"`{address}` is not a valid UDP address", hint="write `:53`")
    return str(address)


UdpAddress = Annotated[str, BeforeValidator(_udp_address), WithJsonSchema({"type": ["string", "integer"]})]
"""`:53`, `127.0.0.1:53` or `[::1]:53`."""


class ListenerConfig(Settings):
    """An address that HTTP clients connect to. Short form: the address."""

    short_forms: ClassVar = ({"type": "string", "examples": [":8080"]}, {"type": "integer"})

    address: ListenAddress = Field(
        description="`:8080`, `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/gate.sock`."
    )
    name: str = Field(default="", description="The name in logs; default: the address.")
    mode: SocketMode | None = Field(
        default=None,
        description='Permissions of a Unix socket, such as `"0660"`; null: by the umask.',
    )
    proxy_protocol: ProxyProtocol | None = Field(
        default=None,
        description=(
            "The version of the PROXY header that every connection must begin with; null: no PROXY headers."
        ),
    )
    trusted_proxies: Networks | None = Field(
        default=None,
        description=(
            "Networks that may send PROXY headers; connections from others are closed. Null: the "
            "gateway's `trusted_proxies`."
        ),
    )
    tls_passthrough: bool = Field(
        default=False,
        description=(
            "Reads the ClientHello; connections with a server name in `tls_routes` are passed through "
            "without decryption."
        ),
    )
    tls: TlsConfig | None = Field(
        default=None, description="TLS settings and certificates; null: plain text."
    )
    http3: bool = Field(
        default=False,
        description="Speaks HTTP/3 too, on the same port of UDP. Needs `tls`.",
    )
    http3_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description=(
            "The UDP port that clients reach HTTP/3 at, where it is mapped to that of the address; null: the "
            "same."
        ),
    )
    http3_early_data: bool = Field(
        default=False,
        description=(
            "Serves requests with safe methods that come with a client's first packet (0-RTT, RFC 8470); others "
            "get a 425."
        ),
    )
    hooks: ListenerHooksConfig = Field(
        default_factory=ListenerHooksConfig, description="Hooks of its own, by phase."
    )
    plugin_sets: SetNames = Field(
        default=(), description="Sets of plugins that are used on its requests, by name."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"address": value} if isinstance(value, str | int) else value

    @property
    def uses_acme(self) -> bool:
        """Whether its certificates are ordered."""
        return self.tls is not None and self.tls.acme

    @property
    def is_plain(self) -> bool:
        """Whether the engine need not know of it: HTTP from the first byte on."""
        return (
            self.proxy_protocol is None
            and not self.tls_passthrough
            and self.tls is None
            and self.name == self.address
        )

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.name:
            object.__setattr__(self, "name", self.address)
        return self

    @model_validator(mode="after")
    def _can_speak_http3(self) -> Self:
        if not self.http3:
            if self.http3_early_data:
                raise ConfigError("`http3_early_data` without `http3`", hint="add `http3: true`")
            return self
        if self.tls is None:
            raise ConfigError(
                "`http3` without `tls`", hint="HTTP/3 is always encrypted: give the listener `tls`"
            )
        if self.address.startswith("unix:"):
            raise ConfigError("`http3` on a Unix socket", hint="HTTP/3 is spoken over UDP: write `:8443`")
        if self.proxy_protocol is not None:
            raise ConfigError(
                "`http3` with `proxy_protocol`",
                hint="UDP has no PROXY headers yet: use a listener of its own for HTTP/3",
            )
        if self.tls_passthrough:
            raise ConfigError(
                "`http3` with `tls_passthrough`",
                hint="QUIC is not passed through yet: use a listener of its own for HTTP/3",
            )
        if self.http3_early_data and self.tls.client_certificates.mode != "none":
            raise ConfigError(
                "`http3_early_data` with `client_certificates`",
                hint="early data comes before a client can show a certificate: use a listener of its own",
            )
        return self


class _StreamListenerConfig(Settings):
    """What listeners for bytes and for datagrams share."""

    name: str = Field(default="", description="The name in logs; default: the address.")
    to: str | None = Field(
        default=None, min_length=1, description="The name of an upstream, or the address of a server."
    )
    max_connections_per_client: int = Field(
        default=0,
        ge=0,
        le=MAX_COUNT,
        description="Connections from one client address per worker; 0 means no limit.",
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Names it by its address if nothing else."""
        if isinstance(value, dict) and not value.get("name") and "address" in value:
            return {**value, "name": str(_listen_text(value["address"]))}
        return value


def _listen_text(value: Any) -> str:
    try:
        return str(parse_listen_address(value))
    except ConfigError:
        return str(value)


class TcpListenerConfig(_StreamListenerConfig):
    """An address whose TCP connections are proxied to servers."""

    address: ListenAddress = Field(
        description="`:5432`, `127.0.0.1:5432`, `[::1]:5432` or `unix:/run/gate.sock`."
    )
    mode: SocketMode | None = Field(
        default=None,
        description='Permissions of a Unix socket, such as `"0660"`; null: by the umask.',
    )
    proxy_protocol: ProxyProtocol | None = Field(
        default=None,
        description=(
            "The version of the PROXY header that every connection must begin with; null: no PROXY headers."
        ),
    )
    trusted_proxies: Networks | None = Field(
        default=None,
        description="Networks that may send PROXY headers. Null: the gateway's `trusted_proxies`.",
    )
    tls_passthrough: bool = Field(
        default=False,
        description=(
            "Reads the ClientHello; connections with a server name in `tls_routes` go there, all others "
            "to `to`."
        ),
    )
    max_connections: int = Field(
        default=0,
        ge=0,
        le=MAX_COUNT,
        description="Connections per worker; 0: limited only by `limits.max_connections`.",
    )
    idle: Duration = Field(
        default=600.0, description="The connection is closed if neither side sends for this time."
    )
    lifetime: Duration | None = Field(
        default=None, description="The maximum duration of a connection; null means no limit."
    )
    hooks: StreamHooksConfig = Field(
        default_factory=StreamHooksConfig, description="Hooks of its own, by phase."
    )


class UdpListenerConfig(_StreamListenerConfig):
    """An address whose UDP datagrams are proxied to servers; a session keeps its server."""

    address: UdpAddress = Field(description="`:53`, `127.0.0.1:53` or `[::1]:53`.")
    max_connections: int = Field(
        default=10000,
        ge=1,
        le=MAX_COUNT,
        description="Sessions (client addresses) per worker; datagrams beyond that are dropped.",
    )
    idle: Duration = Field(default=60.0, description="A session ends if neither side sends for this time.")
    hooks: StreamHooksConfig = Field(
        default_factory=StreamHooksConfig, description="Hooks of its own, by phase."
    )


class TlsRouteConfig(Settings):
    """TLS connections that are passed through to an upstream without decryption, by server name."""

    host: Annotated[tuple[Annotated[str, AfterValidator(check_host)], ...], OneOrMany()] = Field(
        min_length=1, description="`example.com`, `*.example.com`, `www.*`, `~regex` or `*`; one or several."
    )
    to: str = Field(min_length=1, description="The name of an upstream, or the address of a server.")


AnyListener = ListenerConfig | TcpListenerConfig | UdpListenerConfig
"""What clients connect to, of any kind."""
