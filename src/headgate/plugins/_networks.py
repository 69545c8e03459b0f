"""Sets of networks: sorted ranges that a bisection looks through, however many there are."""

from __future__ import annotations

import ipaddress
import socket
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path

from headgate import ConfigError

NAT64 = bytes.fromhex("0064ff9b0000000000000000")
MAPPED = bytes(10) + b"\xff\xff"
MOST_CACHED = 16384


class Networks:
    """A set of networks. Whether an address is in it takes a bisection, and for one seen lately a look."""

    def __init__(self, networks: Iterable[str]) -> None:
        ranges: dict[int, list[tuple[int, int]]] = {4: [], 16: []}
        for text in networks:
            network = parsed_network(text)
            first = int(network.network_address)
            ranges[network.max_prefixlen // 8].append((first, first + network.num_addresses))
        self._bounds = {size: _joined(found) for size, found in ranges.items()}
        self._known: dict[str, bool] = {}

    def __contains__(self, address: str) -> bool:
        found = self._known.get(address)
        if found is None:
            packed = packed_address(address)
            found = packed is not None and self._has(packed)
            if len(self._known) >= MOST_CACHED:
                self._known.clear()
            self._known[address] = found
        return found

    def __bool__(self) -> bool:
        return any(self._bounds.values())

    def _has(self, packed: bytes) -> bool:
        # an odd number of bounds at or below the address: it is within a range
        return bisect_right(self._bounds[len(packed)], int.from_bytes(packed, "big")) % 2 == 1


def _joined(ranges: list[tuple[int, int]]) -> list[int]:
    """Begins and ends in turn; ranges that touch are one."""
    bounds: list[int] = []
    for first, end in sorted(ranges):
        if bounds and first <= bounds[-1]:
            bounds[-1] = max(bounds[-1], end)
        else:
            bounds += [first, end]
    return bounds


def packed_address(address: str) -> bytes | None:
    """An address as 4 or 16 bytes, an IPv4 one inside an IPv6 one (mapped, NAT64) as 4; none if it is no address."""
    try:
        if ":" not in address:
            return socket.inet_pton(socket.AF_INET, address)
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return None
    return packed[12:] if packed[:12] in (MAPPED, NAT64) else packed


def parsed_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network or an address; raises `ConfigError`."""
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ConfigError(
            f"`{text}` is not a valid network", hint="write `10.0.0.0/8`, `2001:db8::/32` or an address"
        ) from None


class WatchedFile(ABC):
    """A file that is read again when it has changed; what was read before counts until that succeeds."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seen: tuple[int, int, int] | None = None
        self._error: ValueError | OSError | None = None

    def read(self) -> bool:
        """Reads it if it has changed, and says so; raises `OSError`, or `ValueError` for what it cannot hold, again and
        again until it is another file.
        """
        status = self._path.stat()
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            self._seen, self._error = seen, None
            try:
                self._load()
            except (OSError, ValueError) as error:
                self._error = error
            else:
                return True
        if self._error is not None:
            raise self._error
        return False

    @abstractmethod
    def _load(self) -> None:
        """Reads it; raises `OSError`, or `ValueError` for what it cannot hold."""


class NetworkFile(WatchedFile):
    """A file of networks, one a line, `#` begins a comment."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.networks = Networks(())
        try:
            self.read()
        except (OSError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"`{path}` cannot be read: {reason}", hint="name a file") from None

    def _load(self) -> None:
        self.networks = Networks(self._lines())

    def _lines(self) -> Iterator[str]:
        for number, line in enumerate(self._path.read_text().splitlines(), 1):
            text = line.partition("#")[0].strip()
            if text:
                try:
                    parsed_network(text)
                except ConfigError as error:
                    raise ConfigError(f"{self._path}:{number}: {error.message}", hint=error.hint) from None
                yield text
