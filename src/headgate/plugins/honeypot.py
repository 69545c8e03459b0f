"""Paths that only scanners ask for: who asks is kept out everywhere."""

from __future__ import annotations

from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response
from headgate.native import AskListed, Native, Who

from ._clients import client_network
from ._lists import ENTRIES, Entries, EntryList


class Honeypot(Plugin):
    """Refuses every request of a client, by its network, once it has asked for a trap.

    Use it without `on`, so that it sees all requests. A trap that a page links by mistake keeps its visitors out.
    """

    order = -390

    class Config(BaseModel):
        """Settings of `honeypot`."""

        model_config = ConfigDict(extra="forbid")

        traps: EntryList = Field(
            default=["/.env", "/.git/", "/wp-login.php", "/wp-admin", "/phpmyadmin"],
            min_length=1,
            description=f"Paths: {ENTRIES}.",
        )
        seconds: float = Field(default=3600, gt=0, description="How long a client is kept out.")
        after: int = Field(default=1, ge=1, description="How many traps it may ask for until then.")
        status: int = Field(default=404, ge=400, le=599, description="The status of all it gets.")
        ipv6_prefix: int = Field(
            default=64, ge=1, le=128, description="The bits of an IPv6 address that are one client."
        )
        memory: str = Field(default="4m", description="The size of the table of clients.")

    def setup(self, context: PluginContext) -> None:
        """Makes the table."""
        self._traps = Entries(self.config.traps)
        self._caught = context.shared("caught", self.config.memory)
        self._counter = context.counter("caught")
        self._log, self._masked = context.log, context.masked

    def native(self) -> Native:
        """Clients that were not caught, and paths that are no traps."""
        client, trap = Who(["address"], 32, self.config.ipv6_prefix), self._traps.natively("path")
        return Native(request=[AskListed(client, self._caught), trap] if trap else None)

    def request(self, request: Request) -> Response | None:
        """Keeps out, or catches."""
        client = client_network(request.client.address, 32, self.config.ipv6_prefix)
        count = self._caught.get(client, 0)
        if count >= self.config.after:
            return Response(self.config.status)
        if not self._traps.match(unquote(request.path)):
            return None
        count = self._caught.incr(client, 1, 0, self.config.seconds)
        if count >= self.config.after:
            self._caught.expire(client, self.config.seconds)
            self._counter.add()
            self._log.warning("caught", extra={"client": client, "path": self._masked(request.path)[:200]})
        return Response(self.config.status)
