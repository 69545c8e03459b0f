"""The listening sockets: bound once by the supervisor, lent to every generation of workers.

How it works: an address becomes one or more endpoints (`:8080` is 0.0.0.0 and [::]). In `reuseport` mode each
worker slot has its own SO_REUSEPORT socket, bound when the slot's first worker is about to accept, so the
kernel spreads connections and no worker wakes for another's; in `shared` mode (and for Unix sockets) one
socket serves all. The supervisor keeps every socket open while workers come and go: a connection waiting in a
queue is not lost by a restart or a reload.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from headgate.config.addresses import TcpAddress, UnixAddress, parse_listen_address
from headgate.config.overlaps import overlap
from headgate.control.messages import BoundListener
from headgate.supervisor.settings import REUSEPORT, SHARED

BACKLOG = 16384  # the kernel cuts it to net.core.somaxconn
UDP = "udp:"
"""Begins the text of an address for datagrams: `udp::53`."""


class BindError(OSError):
    """An address cannot be listened on; the text says which, why, and what to do."""


class Endpoint(NamedTuple):
    """One bound address and its sockets: one for all workers, or one per slot."""

    address: str
    sockets: list[socket.socket]
    is_shared: bool

    def sockets_for(self, slot: int, slots: int) -> list[socket.socket]:
        """What the worker in `slot` of `slots` accepts from; binds a socket for a new slot."""
        if self.is_shared:
            return self.sockets[:1]
        while len(self.sockets) <= slot:
            name = self.sockets[0].getsockname()
            again = _bind_datagrams if self.sockets[0].type == socket.SOCK_DGRAM else _listen
            self.sockets.append(again(self.sockets[0].family, name[0], name[1], reuseport=True))
        # More sockets than slots: inherited from a gateway with more workers. None may be without an owner.
        return self.sockets[slot::slots] if len(self.sockets) > slots else [self.sockets[slot]]

    def close(self) -> None:
        """Closes its sockets."""
        for one in self.sockets:
            one.close()


class Listeners:
    """All endpoints, by the address text that asked for them."""

    def __init__(self, mode: str = REUSEPORT) -> None:
        self._mode = mode
        self._endpoints: dict[str, list[Endpoint]] = {}
        self._socket_files: dict[str, tuple[int, int]] = {}

    def open(self, addresses: list[str], modes: dict[str, int] | None = None) -> None:
        """Binds what is not bound yet; on failure none of the new ones stays (BindError).

        `modes` are permissions for the files of Unix sockets, by address.
        """
        opened: list[str] = []
        try:
            for text in addresses:
                if text not in self._endpoints:
                    with _explained(text, self._rival(text)):
                        self._endpoints[text] = self._bind(text)
                    opened.append(text)
                if (mode := (modes or {}).get(text)) is not None:
                    with _explained(text):
                        os.chmod(text.removeprefix("unix:"), mode)
        except BindError:
            for text in opened:
                self._close(text)
            raise

    def _rival(self, text: str) -> str | None:
        """The listener of our own that keeps `text` from being bound, if there is one."""
        if not (is_udp := text.startswith(UDP)) and text.startswith("unix:"):
            return None
        address = parse_listen_address(text.removeprefix(UDP))
        for other in self._endpoints:
            if other.startswith(UDP) is is_udp and overlap(
                parse_listen_address(other.removeprefix(UDP)), address
            ):
                return other
        return None

    def keep_only(self, addresses: list[str]) -> None:
        """Closes what no configuration asks for any more."""
        for text in [known for known in self._endpoints if known not in addresses]:
            self._close(text)

    def close(self, *, keep_socket_files: bool = False) -> None:
        """Closes all; the files of Unix sockets stay if a successor serves them."""
        if keep_socket_files:
            self._socket_files.clear()
        self.keep_only([])

    def lend(
        self, addresses: list[str], slot: int, slots: int, *, is_own: bool = False
    ) -> tuple[list[BoundListener], list[int]]:
        """What the worker in `slot` of `slots` gets: the asked and the bound address of each descriptor.

        With `is_own` only what streams come from that no other slot accepts.
        """
        listeners: list[BoundListener] = []
        descriptors: list[int] = []
        for text in addresses:
            for endpoint in self._endpoints[text]:
                if is_own and (endpoint.is_shared or text.startswith(UDP)):
                    continue
                with _explained(text):
                    sockets = endpoint.sockets_for(slot, slots)
                listeners += [BoundListener(name=text, address=endpoint.address) for _ in sockets]
                descriptors += [one.fileno() for one in sockets]
        return listeners, descriptors

    def bound(self) -> list[str]:
        """The real addresses, with the ports that were chosen for port 0."""
        return [endpoint.address for endpoints in self._endpoints.values() for endpoint in endpoints]

    def descriptors(self) -> dict[str, list[list[int]]]:
        """All sockets, for a successor: address text to one list of descriptors per endpoint."""
        return {
            text: [[one.fileno() for one in endpoint.sockets] for endpoint in endpoints]
            for text, endpoints in self._endpoints.items()
        }

    def inherit(self, descriptors: dict[str, list[list[int]]]) -> None:
        """Takes over a predecessor's sockets."""
        for text, endpoints in descriptors.items():
            self._endpoints[text] = [_adopt(numbers) for numbers in endpoints]
            if text.startswith(UDP):
                continue
            address = parse_listen_address(text)
            if isinstance(address, UnixAddress):
                self._remember_file(address.path)

    def _bind(self, text: str) -> list[Endpoint]:
        if text.startswith(UDP):
            return _bind_udp(text, is_shared=self._mode == SHARED)
        address = parse_listen_address(text)
        if isinstance(address, UnixAddress):
            endpoints = [_bind_unix(address)]
            self._remember_file(address.path)
            return endpoints
        return _bind_tcp(address, is_shared=self._mode == SHARED)

    def _remember_file(self, path: str) -> None:
        found = os.stat(path)
        self._socket_files[path] = (found.st_dev, found.st_ino)

    def _close(self, text: str) -> None:
        for endpoint in self._endpoints.pop(text):
            endpoint.close()
        path = text.removeprefix("unix:")
        if mark := self._socket_files.pop(path, None):
            with contextlib.suppress(OSError):
                found = os.stat(path)
                if (found.st_dev, found.st_ino) == mark:
                    os.unlink(path)


def _bind_udp(text: str, *, is_shared: bool) -> list[Endpoint]:
    address = parse_listen_address(text.removeprefix(UDP))
    if isinstance(address, UnixAddress):
        raise ValueError(f"`{text}` takes no datagrams")
    return _bind_ip(address, is_shared=is_shared, bind=_bind_datagrams)


def _bind_tcp(address: TcpAddress, *, is_shared: bool) -> list[Endpoint]:
    return _bind_ip(address, is_shared=is_shared, bind=_listen)


def _bind_ip(address: TcpAddress, *, is_shared: bool, bind: "Bind") -> list[Endpoint]:
    if address.host:
        # as bytes: for a `str` Python would load the codec for international names, which have been refused already
        host = address.host.encode()
        found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        places = [(family, str(where[0])) for family, _, _, _, where in found]
    else:
        places = [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]
    endpoints: list[Endpoint] = []
    port = address.port
    try:
        for family, place in dict.fromkeys(places):
            try:
                listener = _first(family, place, port, is_shared=is_shared, bind=bind)
            except OSError as error:
                is_absent = error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
                if is_absent and family == socket.AF_INET6 and endpoints:
                    continue  # a machine without IPv6
                raise
            port = listener.getsockname()[1]
            endpoints.append(Endpoint(_bound_address(listener), [listener], is_shared))
    except OSError:
        for endpoint in endpoints:
            endpoint.close()
        raise
    return endpoints


def _first(family: int, host: str, port: int, *, is_shared: bool, bind: "Bind") -> socket.socket:
    if port and not is_shared:
        # SO_REUSEPORT would let two gateways share a port without a word: first make sure that it is free.
        bind(family, host, port, reuseport=False).close()
    return bind(family, host, port, reuseport=not is_shared)


def _listen(family: int, host: str, port: int, *, reuseport: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuseport:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Accepted connections inherit it: one system call per connection less.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _bind_datagrams(family: int, host: str, port: int, *, reuseport: bool) -> socket.socket:
    taker = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if reuseport:
            taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            taker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taker.bind((host, port))
    except OSError:
        taker.close()
        raise
    return taker


class Bind(Protocol):
    """Makes a bound socket."""

    def __call__(self, family: int, host: str, port: int, *, reuseport: bool) -> socket.socket: ...


def _bind_unix(address: UnixAddress) -> Endpoint:
    _remove_stale(address.path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        listener.bind(address.path)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return Endpoint(str(address), [listener], is_shared=True)


def _remove_stale(path: str) -> None:
    """Removes a socket file that nobody listens on; anything else at the path is an error."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "a file that is not a socket is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _adopt(numbers: list[int]) -> Endpoint:
    sockets = []
    for number in numbers:
        os.set_inheritable(number, False)
        sockets.append(socket.socket(fileno=number))
    first = sockets[0]
    reuses = first.family != socket.AF_UNIX and first.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    return Endpoint(_bound_address(first), sockets, is_shared=not reuses)


def _bound_address(listener: socket.socket) -> str:
    name = listener.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    prefix = UDP if listener.type == socket.SOCK_DGRAM else ""
    return f"{prefix}{TcpAddress(name[0], name[1])}"


@contextlib.contextmanager
def _explained(text: str, rival: str | None = None) -> Iterator[None]:
    """Turns what the system says about an address into a BindError."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BindError(f"cannot listen on `{text}`: {reason}\n  hint: {_hint(error, rival)}") from error
    except ValueError as error:
        raise BindError(str(error)) from error


def _hint(error: OSError, rival: str | None) -> str:
    if error.errno == errno.EADDRINUSE:
        if rival:
            return f"this gateway has it already, for its listener `{rival}`; a restart gives it back"
        return "another program listens there; `ss -ltnp` shows which"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 need root or CAP_NET_BIND_SERVICE; a socket file needs a writable folder"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this machine has that address"
    if isinstance(error, socket.gaierror):
        return "the host name does not resolve; `:PORT` listens on every interface"
    return "choose another address"
