"""Registries that list servers: Consul, Kubernetes, Docker and DNS-SD. How a service is written, and who is asked."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, NamedTuple, TypedDict, get_args
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field

from .errors import ConfigError, suggestion
from .secrets import Secret
from .settings import Settings

RegistryKind = Literal["consul", "kubernetes", "docker", "dns-sd"]
REGISTRIES: tuple[RegistryKind, ...] = get_args(RegistryKind)
PREFIXES = tuple(f"{kind}:" for kind in REGISTRIES)
"""How addresses of servers begin that a registry lists."""

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9_])?"
_NAMES: dict[RegistryKind, re.Pattern[str]] = {
    "consul": re.compile(f"(?P<name>{_LABEL})"),
    "docker": re.compile(f"(?P<name>{_LABEL})"),
    "kubernetes": re.compile(
        r"(?:(?P<space>[a-z0-9-]{1,63})/)?(?P<name>[a-z0-9-]{1,63})(?::(?P<port>[a-z0-9-]{1,63}))?"
    ),
    "dns-sd": re.compile(r"(?P<name>_[A-Za-z0-9-]{1,62}\._(?:tcp|udp)(?:\.[A-Za-z0-9_-]{1,63})+\.?)"),
}
_EXAMPLES: dict[RegistryKind, str] = {
    "consul": "consul:web?tag=primary",
    "docker": "docker:web",
    "kubernetes": "kubernetes:shop/web:http",
    "dns-sd": "dns-sd:_http._tcp.example.com",
}
_OPTIONS: dict[RegistryKind, tuple[str, ...]] = {
    "consul": ("tag", "dc", "tls"),
    "docker": ("tls",),
    "kubernetes": ("tls",),
    "dns-sd": ("tls",),
}


class Registered(NamedTuple):
    """A service, in the registry that lists its servers."""

    kind: RegistryKind
    name: str
    space: str = ""
    """The namespace in Kubernetes; empty: the one of `resolver.kubernetes`."""
    port: str = ""
    """The name or number of a port in Kubernetes; empty: the first one."""
    tags: tuple[str, ...] = ()
    dc: str = ""
    """The datacenter of Consul."""
    is_secure: bool = False


def parse_registered(text: str) -> Registered:
    """`consul:web?tag=primary`, `kubernetes:shop/web:http`, `docker:web` or `dns-sd:_http._tcp.example.com`; each may
    end with `?tls=true`. Raises `ConfigError`.
    """
    prefix, _, rest = text.partition(":")
    kind = next(one for one in REGISTRIES if one == prefix)
    bare, _, query = rest.partition("?")
    hint = f"write `{_EXAMPLES[kind]}`"
    found = _NAMES[kind].fullmatch(bare)
    if not found:
        raise ConfigError(f"`{text}` is not a server's address", hint=hint)
    try:
        options = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ConfigError(f"`{text}` is not a server's address", hint=hint) from None
    for name, value in options:
        if name not in _OPTIONS[kind]:
            raise ConfigError(
                f"`{text}` has an unknown option `{name}`", hint=suggestion(name, _OPTIONS[kind])
            )
        if not value or (name == "tls" and value not in ("true", "false")):
            raise ConfigError(f"`{name}` of `{text}` cannot be `{value}`", hint=hint)
    named = {key: value or "" for key, value in found.groupdict().items()}
    last = dict(options)
    tags = tuple(value for name, value in options if name == "tag")
    return Registered(kind, **named, tags=tags, dc=last.get("dc", ""), is_secure=last.get("tls") == "true")


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
        return text
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.username is not None
        or parts.query
    ):
        raise ConfigError(
            f"`{text}` is not the address of a registry",
            hint="write `http://127.0.0.1:8500`, `https://name` or `unix:/run/x.sock`",
        )
    return text.rstrip("/")


Url = Annotated[str, AfterValidator(_url)]


class ConsulConfig(Settings):
    """The agent of Consul that is asked. Short form: its address."""

    short_forms: ClassVar = ({"type": "string", "examples": ["http://127.0.0.1:8500"]},)

    url: Url = Field(default="http://127.0.0.1:8500", description="Its address; `unix:/path` for a socket.")
    token: Secret | None = Field(default=None, description="Its ACL token; null: none.")
    ca: str | None = Field(
        default=None,
        min_length=1,
        description="The whole path of its authority's PEM file; null: the system's.",
    )

    @classmethod
    def expand(cls, value: object) -> object:
        """Reads the short form."""
        return {"url": value} if isinstance(value, str) else value


class KubernetesConfig(Settings):
    """The API server of Kubernetes; by default the one of the pod that the gateway runs in."""

    url: Url | None = Field(
        default=None, description="Its address; null: that of the cluster which the gateway runs in."
    )
    token: Secret | None = Field(
        default=None,
        description="A bearer token; null: that of the pod's service account, read anew each time.",
    )
    ca: str | None = Field(
        default=None,
        min_length=1,
        description="The whole path of its authority's PEM file; null: that of the pod's service account.",
    )
    namespace: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]{1,63}$",
        description="The namespace of services that are written without one; null: the pod's own, or `default`.",
    )


class DockerConfig(Settings):
    """The engine whose containers have labels. Short form: its address."""

    short_forms: ClassVar = ({"type": "string", "examples": ["unix:/run/docker.sock"]},)

    url: Url = Field(
        default="unix:/var/run/docker.sock",
        description="Its address, as `unix:/path` or `http://host:2375`; the gateway's user must be able to open it.",
    )

    @classmethod
    def expand(cls, value: object) -> object:
        """Reads the short form."""
        return {"url": value} if isinstance(value, str) else value


class ConsulOptions(TypedDict, total=False):
    """See `ConsulConfig`."""

    url: str
    token: str
    ca: str


class KubernetesOptions(TypedDict, total=False):
    """See `KubernetesConfig`."""

    url: str
    token: str
    ca: str
    namespace: str


class DockerOptions(TypedDict, total=False):
    """See `DockerConfig`."""

    url: str
