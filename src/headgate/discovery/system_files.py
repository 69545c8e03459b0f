"""What the system says of names: resolv.conf(5) and hosts(5), read again when they have changed."""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from headgate._digits import whole_number
from headgate.config.errors import ConfigError
from headgate.config.resolver import NameServer, parse_name_server

T = TypeVar("T")

RESOLV_CONF, HOSTS = "/etc/resolv.conf", "/etc/hosts"
MOST_NDOTS = 15
LOCAL_SERVER = "127.0.0.1"
"""Where there is no other one (resolv.conf(5))."""

log = logging.getLogger("headgate.discovery")


@dataclass(frozen=True)
class ResolvConf:
    """Whom to ask, and in which domains short names are."""

    servers: tuple[NameServer, ...] = ()
    search: tuple[str, ...] = ()
    ndots: int = 1


Hosts = dict[str, list[str]]
"""Addresses by name, in lower case without a final dot."""


def parse_resolv_conf(text: str) -> ResolvConf:
    """Reads it as the system does: of `domain` and `search` the last one counts, what is unknown is passed over."""
    servers: list[NameServer] = []
    search: tuple[str, ...] = ()
    ndots = 1
    for line in text.splitlines():
        keyword, *words = line.split() or [""]
        if keyword == "nameserver" and words:
            try:
                servers.append(parse_name_server(words[0] if ":" not in words[0] else f"[{words[0]}]"))
            except ConfigError:
                log.warning("a name server of the system is not an address", extra={"server": words[0]})
        elif keyword in ("search", "domain"):
            search = tuple(word.rstrip(".") for word in words if word != ".")
        elif keyword == "options":
            for word in words:
                name, _, value = word.partition(":")
                number = whole_number(value)
                if name == "ndots" and number is not None:
                    ndots = min(number, MOST_NDOTS)
    return ResolvConf(tuple(servers) or (parse_name_server(LOCAL_SERVER),), search, ndots)


def parse_hosts(text: str) -> Hosts:
    """The addresses of each name; lines without an address are passed over."""
    found: Hosts = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        try:
            address = str(ipaddress.ip_address(address))
        except ValueError:
            continue
        for name in names:
            addresses = found.setdefault(name.lower().rstrip("."), [])
            if address not in addresses:
                addresses.append(address)
    return found


@dataclass
class WatchedFile(Generic[T]):
    """A file that is read again when it is another one; what cannot be read is empty."""

    path: Path
    parse: Callable[[str], T]
    _stamp: tuple[int, ...] | None = None
    _content: list[T] = field(default_factory=list)
    _version: int = 0

    @property
    def content(self) -> T:
        """What it says now."""
        self._read()
        return self._content[0]

    @property
    def version(self) -> int:
        """Another number whenever the file is another one."""
        self._read()
        return self._version

    def _read(self) -> None:
        try:
            found = os.stat(self.path)
            stamp: tuple[int, ...] = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)
        except OSError:
            stamp = ()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            text = self.path.read_text(errors="replace")
        except OSError:
            text = ""
        self._content = [self.parse(text)]
        self._version += 1
