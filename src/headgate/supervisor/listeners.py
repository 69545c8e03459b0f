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
from collections.abc import Iterator

from headgate.config.addresses import TcpAddress, UnixAddress, parse_listen_address
from headgate.config.overlaps import overlap
from headgate.control.messages import BoundListener
from headgate.supervisor.binding import (
    HTTP3,
    UDP,
    Endpoint,
    adopt,
    bind_beside,
    bind_tcp,
    bind_udp,
    bind_unix,
    is_datagram,
    plain_address,
)
from headgate.supervisor.settings import REUSEPORT, SHARED

PORT_TRIES = 20


class BindError(OSError):
    """An address cannot be listened on; the text says which, why, and what to do."""


class Listeners:
    """All endpoints, by the address text that asked for them."""

    def __init__(self, mode: str = REUSEPORT) -> None:
        self._mode = mode
        self._endpoints: dict[str, list[Endpoint]] = {}
        self._socket_files: dict[str, tuple[int, int]] = {}

    def open(
        self,
        addresses: list[str],
        modes: dict[str, int] | None = None,
        places: dict[str, str] | None = None,
    ) -> None:
        """Binds what is not bound yet; on failure none of the new ones stays (BindError).

        `modes` are permissions for the files of Unix sockets, `places` the lines of the user's file, by address.
        """
        opened: list[str] = []
        lines = places or {}
        try:
            for text in addresses:
                if text not in self._endpoints:
                    with _explained(text, self._rival(text), lines.get(text)):
                        self._endpoints[text] = self._bind(text, opened)
                    opened.append(text)
                if (mode := (modes or {}).get(text)) is not None:
                    with _explained(text, place=lines.get(text)):
                        os.chmod(text.removeprefix("unix:"), mode)
        except BindError:
            for text in opened:
                self._close(text)
            raise

    def _rival(self, text: str) -> str | None:
        """The listener of our own that keeps `text` from being bound, if there is one."""
        if not (is_udp := is_datagram(text)) and text.startswith("unix:"):
            return None
        address = parse_listen_address(plain_address(text))
        for other in self._endpoints:
            if is_datagram(other) is is_udp and overlap(parse_listen_address(plain_address(other)), address):
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
                if is_own and (endpoint.is_shared or is_datagram(text)):
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
            self._endpoints[text] = [adopt(numbers) for numbers in endpoints]
            if is_datagram(text):
                continue
            address = parse_listen_address(text)
            if isinstance(address, UnixAddress):
                self._remember_file(address.path)

    def _bind(self, text: str, fresh: list[str]) -> list[Endpoint]:
        """`fresh` are addresses that no worker has yet."""
        if text.startswith(HTTP3):
            return self._bind_http3(text.removeprefix(HTTP3), fresh)
        if text.startswith(UDP):
            return bind_udp(text, is_shared=self._mode == SHARED)
        address = parse_listen_address(text)
        if isinstance(address, UnixAddress):
            endpoints = [bind_unix(address)]
            self._remember_file(address.path)
            return endpoints
        return bind_tcp(address, is_shared=self._mode == SHARED)

    def _bind_http3(self, text: str, fresh: list[str]) -> list[Endpoint]:
        """Where the system chooses the port, one that is free for TCP may be taken for UDP: then another is tried."""
        address = parse_listen_address(text)
        may_move = isinstance(address, TcpAddress) and address.port == 0 and text in fresh
        for _ in range(PORT_TRIES if may_move else 0):
            try:
                return bind_beside(self._endpoints[text])
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            self._close(text)
            self._endpoints[text] = self._bind(text, fresh)
        return bind_beside(self._endpoints[text])

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


@contextlib.contextmanager
def _explained(text: str, rival: str | None = None, place: str | None = None) -> Iterator[None]:
    """Turns what the system says about an address into a BindError."""
    where = f"{place}: " if place else ""
    try:
        yield
    except OSError as error:
        reason, hint = _told(error, text, rival)
        raise BindError(f"{where}cannot listen on `{text}`: {reason}\n  hint: {hint}") from error
    except ValueError as error:
        raise BindError(f"{where}{error}") from error


def _told(error: OSError, text: str, rival: str | None) -> tuple[str, str]:
    """What the system says, and what to do about it."""
    reason = (error.strerror or str(error)).lower()
    if isinstance(error, socket.gaierror):
        return "the host name does not resolve", "write an address; `:PORT` listens on every interface"
    if text.startswith("unix:"):
        return _told_of_file(error, text.removeprefix("unix:"), reason)
    if error.errno == errno.EADDRINUSE:
        if rival:
            return (
                reason,
                f"this gateway has it already, for its listener `{rival}`; a restart gives it back",
            )
        return (
            reason,
            f"another program listens there; `ss -{'u' if is_datagram(text) else 't'}lnp` shows which",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            reason,
            "ports below 1024 need root or CAP_NET_BIND_SERVICE; choose a higher one, such as `:8080`",
        )
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return reason, "no interface of this machine has that address; `ip address` lists them"
    return reason, _LIMITS.get(error.errno or 0, "choose another address")


def _told_of_file(error: OSError, path: str, reason: str) -> tuple[str, str]:
    folder = os.path.dirname(path) or "."
    if error.errno == errno.EADDRINUSE:
        return reason, "another program listens there; `ss -xlp` shows which"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"the directory `{folder}` does not exist", f"create it with `mkdir -p {folder}`"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return reason, f"the folder `{folder}` must be writable; choose another one"
    if error.errno == errno.EEXIST:
        return reason, f"remove `{path}`, or choose another path"
    return reason, _LIMITS.get(error.errno or 0, "choose another path")


_LIMITS = {
    errno.EMFILE: "raise the limit of open files: `ulimit -n 65536`",
    errno.ENFILE: "the machine has no more open files: raise `fs.file-max`",
    errno.ENOSPC: "the disk is full",
}
