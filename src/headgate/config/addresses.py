"""Addresses to listen on and to connect to, as users write them."""

import ipaddress
import re
from typing import Any, Literal, NamedTuple

from headgate._digits import whole_number

from .errors import ConfigError, suggestion

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_FUNCTION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_]*)?")
TUNNEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
"""What a tunnel may expose."""
TUNNEL_ENDPOINT = "endpoint"
"""The name of where tunnels come in."""
_SERVER_OPTIONS = (
    *("weight", "max_fails", "fail_timeout", "backup", "max_connections", "resolve", "priority", "zone"),
    "metadata.NAME",
)


LISTED = ("file:", "discover:", "consul:", "kubernetes:", "docker:", "dns-sd:")
"""How addresses begin that stand for a list of servers; those from the third on are of registries."""
LONGEST_PATH_BYTES = 107
"""What fits in sockaddr_un on Linux, with its final NUL."""


class TcpAddress(NamedTuple):
    """A host and a port; an empty host means every address of the machine."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class TlsAddress(TcpAddress):
    """A host and a port where TLS is spoken."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"https://{super().__str__()}"


class UnixAddress(NamedTuple):
    """The absolute path of a Unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


class SrvAddress(NamedTuple):
    """The name of a service, whose SRV records name its servers (RFC 2782)."""

    name: str

    def __str__(self) -> str:
        return f"srv:{self.name}"


class ListAddress(NamedTuple):
    """Where a list of servers comes from: a file, a function of the user's, or a registry."""

    kind: Literal["file", "discover", "consul", "kubernetes", "docker", "dns-sd"]
    name: str
    """A path, the name of a function, or a service in a registry."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


Address = TcpAddress | UnixAddress
ServerAddress = Address | SrvAddress | ListAddress


def parse_listen_address(text: Any) -> Address:
    """An address to listen on: `:8080`, `8080`, `127.0.0.1:8080`, `[::1]:8080`, `unix:/run/x.sock`; port 0 is any."""
    if isinstance(text, int) and not isinstance(text, bool):
        text = f":{text}"
    if isinstance(text, str) and whole_number(text) is not None:
        text = f":{text}"
    hint = "write `:8080`, `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/gate.sock`"
    return _parse(text, "an address to listen on", hint, lowest_port=0)


def parse_server_address(text: Any) -> ServerAddress:
    """A server's address: `10.0.0.1:9000`, `[::1]:9000`, `name:9000`, `https://name`, `unix:/run/app.sock`, a service:
    `srv:_http._tcp.app.internal`, a list: `file:/etc/headgate/servers.txt`, `discover:my_module:function`,
    `consul:web`, `kubernetes:shop/web`, `docker:web`, `dns-sd:_http._tcp.example.com`; or what a tunnel exposes:
    `tunnel:name`, which is the Unix socket that leads into it.
    """
    hint = "write `10.0.0.1:9000`, `https://name` or `unix:/run/app.sock`"
    if isinstance(text, str) and text.startswith("srv:"):
        return _service(text)
    if isinstance(text, str) and text.startswith(LISTED[:2]):
        return _list(text)
    if isinstance(text, str) and text.startswith(LISTED[2:]):
        return _registry(text)
    if isinstance(text, str) and text.startswith("tunnel:"):
        return _tunnel(text)
    given = text
    is_secure = False
    if isinstance(text, str) and "://" in text:
        text, is_secure = _authority(text)
    address = _parse(text, "a server's address", hint, lowest_port=1, given=given)
    if isinstance(address, UnixAddress):
        return address
    host = address.host or "127.0.0.1"
    return TlsAddress(host, address.port) if is_secure else TcpAddress(host, address.port)


def is_one_server(text: str) -> bool:
    """Whether a server's address is that of one server: of a socket, an IP address or `localhost`, not a name."""
    address = parse_server_address(text)
    if isinstance(address, UnixAddress):
        return True
    return isinstance(address, TcpAddress) and (address.host == "localhost" or is_ip(address.host))


def is_ip(host: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def parse_server(text: str) -> dict[str, Any]:
    """`"10.0.0.2:9000 weight=2 backup"` as the table it stands for; the address is checked later."""
    address, *options = text.split() or [""]
    table: dict[str, Any] = {"address": address}
    for option in options:
        name, equals, value = option.partition("=")
        kind, dot, mark = name.partition(".")
        if kind == "metadata" and mark and equals:
            if mark in table.setdefault(kind, {}):
                raise ConfigError(f"duplicate server option `{name}` in `{text}`")
            table[kind][mark] = value
            continue
        if name not in _SERVER_OPTIONS or dot:
            raise ConfigError(f"unknown server option `{name}`", hint=suggestion(name, _SERVER_OPTIONS))
        if name in table:
            raise ConfigError(f"duplicate server option `{name}` in `{text}`")
        if (name == "backup") == bool(equals):
            raise ConfigError(f"`{option}` is not a server option", hint="write `backup`, or `weight=2`")
        table[name] = value if equals else True
    return table


def _service(text: str) -> SrvAddress:
    """The service that `srv:NAME` names."""
    name = text.removeprefix("srv:")
    if _HOST.fullmatch(name) and not re.fullmatch(r"[0-9.]+", name):
        return SrvAddress(name)
    host, colon, port = name.rpartition(":")
    hint = "write `srv:_http._tcp.app.internal`"
    if colon and whole_number(port) is not None and _HOST.fullmatch(host):
        hint = f"SRV records say the ports: write `srv:{host}`"
    elif "://" in name:
        hint = "write `srv:_https._tcp.app.internal` for servers that speak TLS"
    raise ConfigError(f"`{text}` is not a server's address", hint=hint)


def _registry(text: str) -> ListAddress:
    """The registry and the service that a list of servers comes from."""
    from .registries import parse_registered  # most gateways have no need of it

    registered = parse_registered(text)
    return ListAddress(registered.kind, text.partition(":")[2])


def may_be_bound(path: str) -> bool:
    """Whether the socket of a broker fits there: it is bound as `NAME.PID` first, whose ending has up to 8 bytes."""
    return len(path.removesuffix(".sock").encode()) + 8 <= LONGEST_PATH_BYTES


def _tunnel(text: str) -> UnixAddress:
    """The socket that leads into the tunnels of a name, or to where tunnels come in."""
    name = text.removeprefix("tunnel:")
    if not TUNNEL_NAME.fullmatch(name):
        raise ConfigError(
            f"`{text}` is not a server's address",
            hint="write `tunnel:` and up to 32 lower-case letters, digits, `_` and `-`",
        )
    path = f"{tunnels_folder()}/{name}.sock"
    if not may_be_bound(path):
        raise ConfigError(
            f"the path `{path}` is too long for a socket", hint="set `HEADGATE_STATE_DIR` to a shorter folder"
        )
    return UnixAddress(path)


def tunnels_folder() -> str:
    """Where the sockets are that lead into tunnels: `tunnels` in the folder of gateways' states."""
    from .state_folders import states_folder  # most gateways have no need of it

    return f"{states_folder()}/tunnels"


def _list(text: str) -> ListAddress:
    """The file or function that a list of servers comes from."""
    kind, _, name = text.partition(":")
    if kind == "file" and name.startswith("/") and "\0" not in name:
        return ListAddress("file", name)
    if kind == "discover" and _FUNCTION.fullmatch(name):
        return ListAddress("discover", name)
    hint = "the path of a list must be absolute: `file:/etc/headgate/servers.txt`"
    if kind == "discover":
        hint = "write `discover:my_module:function`, or `@gate.discover(...)` in a Python file"
    raise ConfigError(f"`{text}` is not a server's address", hint=hint)


def _authority(url: str) -> tuple[str, bool]:
    """Host and port of a URL, and whether it is one of TLS."""
    scheme, _, rest = url.partition("://")
    ports = {"http": "80", "https": "443"}
    if scheme.lower() not in ports:
        raise ConfigError(f"`{url}` has an unknown scheme", hint="write `http://name:9000` or `https://name`")
    authority, _, path = rest.partition("/")
    if path or "?" in authority or "#" in authority or "@" in authority:
        raise ConfigError(f"`{url}` has more than a host and a port", hint="use replace_prefix for a path")
    if not authority:
        raise ConfigError(f"`{url}` has no host", hint="write `http://name:9000` or `https://name`")
    has_port = whole_number(authority.rpartition(":")[2]) is not None and not authority.endswith("]")
    if not has_port:
        authority = f"{authority}:{ports[scheme.lower()]}"
    return authority, scheme.lower() == "https"


def _parse(text: Any, what: str, hint: str, *, lowest_port: int, given: Any = None) -> Address:
    shown = text if given is None else given
    if isinstance(text, str) and text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if path.startswith("/") and "\0" not in path and len(path.encode()) <= LONGEST_PATH_BYTES:
            return UnixAddress(path)
        raise ConfigError(
            f"`{shown}` is not {what}",
            hint="the path of a socket must be absolute and at most 107 bytes long",
        )
    if isinstance(text, str):
        host, colon, port = text.rpartition(":")
        bare = _bare_host(host)
        if (
            colon
            and bare is not None
            and re.fullmatch(r"[0-9]{1,5}", port)
            and lowest_port <= int(port) <= 65535
        ):
            return TcpAddress(bare, int(port))
    raise ConfigError(f"`{shown}` is not {what}", hint=hint)


def _bare_host(host: str) -> str | None:
    """The host without brackets, or `None` when it is neither a name nor an IP address."""
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            return None
    if host in ("", "*"):
        return ""
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            return None
    return host if _HOST.fullmatch(host) else None
