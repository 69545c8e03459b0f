"""Makes bound sockets: TCP, UDP and Unix, one for all workers or one for each slot."""

import errno
import os
import socket
import stat
from typing import NamedTuple, Protocol

from headgate.config.addresses import TcpAddress, UnixAddress, parse_listen_address

BACKLOG = 16384  # the kernel cuts it to net.core.somaxconn
UDP = "udp:"
"""Begins the text of an address for datagrams: `udp::53`."""
HTTP3 = "http3:"
"""Begins the text of an address for HTTP/3, which is bound at the ports of the listener behind it: `http3::443`."""


def is_datagram(text: str) -> bool:
    """Whether the text is of an address for UDP."""
    return text.startswith((UDP, HTTP3))


def plain_address(text: str) -> str:
    """The address without what says that it is for UDP."""
    return text.removeprefix(UDP).removeprefix(HTTP3)


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


def bind_udp(text: str, *, is_shared: bool) -> list[Endpoint]:
    """The endpoints of an address for datagrams. Raises OSError, or ValueError for one that takes none."""
    address = parse_listen_address(text.removeprefix(UDP))
    if isinstance(address, UnixAddress):
        raise ValueError(f"`{text}` is not a valid UDP address")
    return _bind_ip(address, is_shared=is_shared, bind=_bind_datagrams)


def bind_beside(endpoints: list["Endpoint"]) -> list["Endpoint"]:
    """The endpoints for datagrams at the addresses and ports of others, a socket for each worker. Raises OSError."""
    bound: list[Endpoint] = []
    try:
        for endpoint in endpoints:
            known = endpoint.sockets[0]
            host, port = known.getsockname()[:2]
            one = _first(known.family, host, port, is_shared=False, bind=_bind_datagrams)
            bound.append(Endpoint(_bound_address(one), [one], is_shared=False))
    except OSError:
        for endpoint in bound:
            endpoint.close()
        raise
    return bound


def bind_tcp(address: TcpAddress, *, is_shared: bool) -> list[Endpoint]:
    """The listening endpoints of an address, one for each family. Raises OSError."""
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


def bind_unix(address: UnixAddress) -> Endpoint:
    """The listening endpoint of a path; a stale file in its place is removed. Raises OSError."""
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
    """Removes a socket file without a listener; anything else at the path is an error."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "a file that is not a socket exists at this path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def adopt(numbers: list[int]) -> Endpoint:
    """The endpoint of sockets that are bound already, by their descriptors."""
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
