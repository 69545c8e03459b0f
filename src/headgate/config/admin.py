"""Where configuration is kept beside the file, and how it is changed at run time: the store and the Admin API."""

import hashlib
import ipaddress
import re
import socket
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from .addresses import ListAddress, SrvAddress, UnixAddress, parse_listen_address, parse_server_address
from .errors import ConfigError
from .secrets import Secret
from .settings import OneOrMany, Settings
from .tls import TlsConfig

Role = Literal["read", "operate", "admin"]
"""`read` sees all but secrets and requests; `operate` also sees these, and changes routes, upstreams, plugins and
sets of them; `admin` also consumers, their groups, and certificates."""

_SHA256 = re.compile(r"sha256:[0-9a-fA-F]{64}")
_HOST = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]")
SHORTEST_TOKEN = 16


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ConfigError(
            f"`{value}` is not a valid host name", hint="write `gateway.example.com`, without a port"
        )
    return value.lower()


class TokenConfig(Settings):
    """A token of the Admin API. Short form: the token, with the role `admin`."""

    short_forms: ClassVar = ({"type": "string", "examples": ["env:ADMIN_TOKEN", "sha256:9f86d0..."]},)

    token: Secret = Field(
        description="The secret, as `env:NAME` or `file:/path`, or `sha256:` and its digest in hex."
    )
    role: Role = Field(
        default="admin",
        description=(
            "`read`: everything except secrets and requests; "
            "`operate`: also see requests and change routes, upstreams and plugins; "
            "`admin`: everything."
        ),
    )
    name: str = Field(
        default="", pattern=r"^[A-Za-z0-9_.@-]{0,64}$", description="The owner's name, for the audit log."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"token": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_long(self) -> Self:
        text = self.token.get_secret_value()
        if not _SHA256.fullmatch(text) and len(text) < SHORTEST_TOKEN:
            raise ConfigError(
                f"a token must have at least {SHORTEST_TOKEN} characters",
                hint="create one with `openssl rand -hex 32`",
            )
        return self

    @property
    def digest(self) -> bytes:
        """SHA-256 of the token."""
        text = self.token.get_secret_value()
        if _SHA256.fullmatch(text):
            return bytes.fromhex(text.removeprefix("sha256:"))
        return hashlib.sha256(text.encode()).digest()


class AdminConfig(Settings):
    """The Admin API. Short form: its address."""

    short_forms: ClassVar = ({"type": "string", "examples": ["unix:/run/headgate/admin.sock"]},)

    listen: str = Field(
        description=(
            "`127.0.0.1:9144`, or `unix:/run/headgate/admin.sock`, which only its owner can open and "
            "which needs no token."
        )
    )
    tokens: Annotated[tuple[TokenConfig, ...], OneOrMany()] = Field(
        default=(), description="The accepted tokens (`Authorization: Bearer ...`)."
    )
    tls: TlsConfig | None = Field(
        default=None,
        description="TLS, as on other listeners; required if the address is not a loopback address.",
    )
    hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], OneOrMany()] = Field(
        default=(),
        description="Accepted Host names, besides the address and `localhost`; others get 421.",
    )
    require_if_match: bool = Field(
        default=False,
        description=(
            "Changes and deletions of existing resources must say which revision they expect, by `If-Match` "
            "(`if_match` in transactions); others get 428."
        ),
    )
    breakpoints: bool = Field(
        default=False,
        description=(
            "Lets callers with the role `admin` set breakpoints, whose expressions are Python code that runs in "
            "the workers."
        ),
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"listen": value} if isinstance(value, str) else value

    @property
    def is_unix(self) -> bool:
        """Whether it is a socket file, whose mode says who may open it."""
        return isinstance(parse_listen_address(self.listen), UnixAddress)

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        address = parse_listen_address(self.listen)
        if isinstance(address, UnixAddress):
            return self
        if not self.tokens:
            raise ConfigError(
                "an Admin API on a port needs `tokens`",
                hint="or listen on a socket: `unix:/run/headgate/admin.sock`",
            )
        if self.tls is None and address.host not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigError(
                f"tokens would be sent unencrypted to `{self.listen}`",
                hint="add `tls`, or listen on `127.0.0.1`",
            )
        return self


def leads_to(admin: AdminConfig, server: str) -> bool:
    """Whether a server's address is that of the Admin API, which nobody is to reach through the gateway."""
    own, address = parse_listen_address(admin.listen), parse_server_address(server)
    if isinstance(address, SrvAddress | ListAddress):
        return False
    if isinstance(own, UnixAddress) or isinstance(address, UnixAddress):
        return own == address
    return own.port == address.port and (address.host == own.host or _is_here(address.host))


def _is_here(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        if re.fullmatch(
            r"[0-9][0-9A-Fa-fxX.]*", host
        ):  # `127.1`, `2130706433`, `0x7f.1`: addresses to resolvers
            with suppress(OSError):
                return _is_here(socket.inet_ntoa(socket.inet_aton(host)))
        return host.lower().rstrip(".") in ("localhost", "localhost.localdomain", "ip6-localhost")
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)
