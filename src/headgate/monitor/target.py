"""One server to be checked, and all that its check needs to know."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

Key = tuple[str, str]
"""The names of an upstream and of a server, as configured."""


class Destination(NamedTuple):
    """Where a connection goes: a host and a port, or the path of a Unix socket."""

    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """As a Host field has it."""
        return "localhost" if self.path else authority(self.host, self.port)


@dataclass(frozen=True)
class Target:
    """A server and its check; two that are equal need no new check."""

    upstream: str
    server: str
    """As configured, without `https://`."""
    is_secure: bool
    definition: str
    """The check as JSON, by which a change of it is seen."""
    known_as: str = ""
    """The `name:port` that it was found by; empty for one that is configured by its address."""

    @property
    def key(self) -> Key:
        """By what states know it."""
        return self.upstream, self.server

    @property
    def check(self) -> dict[str, Any]:
        """What is checked, see `headgate.config.monitored`."""
        known: dict[str, Any] = json.loads(self.definition)
        return known

    @property
    def place(self) -> Destination:
        """Where the check connects to."""
        check = self.check
        if self.server.startswith("unix:") and not check["address"]:
            return Destination("", 0, self.server.removeprefix("unix:"))
        host, _, port = self.server.rpartition(":")
        host = (check["address"] or host).removeprefix("[").removesuffix("]")
        return Destination(host, check["port"] or int(port))

    @property
    def host(self) -> str:
        """The name of the server itself, for TLS."""
        return (self.known_as or self.server).rpartition(":")[0].removeprefix("[").removesuffix("]")

    @property
    def authority(self) -> str:
        """As a Host field has it, with its port."""
        place = self.place
        return authority(self.host, place.port) if self.known_as else place.authority


def targets(plan: dict[str, Any]) -> Iterator[Target]:
    """The servers that a plan has checked."""
    for check in plan["checks"]:
        definition = json.dumps(
            {key: value for key, value in check.items() if key not in ("servers", "hosts")}
        )
        for server in check["servers"]:
            is_secure, known_as = server.startswith("https://"), check.get("hosts", {}).get(server, "")
            yield Target(check["upstream"], server.removeprefix("https://"), is_secure, definition, known_as)


def authority(host: str, port: int) -> str:
    """Host and port as one text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
