"""Paths that only scanners ask for: who asks waits for a response that never gets anywhere."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response, ResponseView
from headgate.native import AskListed, EndNoted, Mark, Native, Who

from ._clients import client_network
from ._lists import ENTRIES, Entries, EntryList

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Tarpit(Plugin):
    """Holds up clients that ask for a trap: the response comes a few bytes at a time, for as long as they wait.

    How many are held is bounded, in each worker and for each client; those above it get an empty response at once, so
    that a tarpit costs a connection and some memory, never more. A trap that a page links by mistake holds its
    visitors up. A worker that leaves waits for those it holds, for `duration` or `timeouts.drain` at most.
    """

    order = -395

    class Config(BaseModel):
        """Settings of `tarpit`."""

        model_config = ConfigDict(extra="forbid")

        traps: EntryList = Field(
            default=["/.env", "/.git/", "/wp-login.php", "/wp-admin", "/phpmyadmin"],
            min_length=1,
            description=f"Paths: {ENTRIES}.",
        )
        remember: float = Field(
            default=0,
            ge=0,
            description="For how many seconds all else that the client asks for is held up, too.",
        )
        interval: float = Field(default=5, gt=0, le=60, description="Seconds between two pieces.")
        duration: float = Field(default=60, gt=0, le=3600, description="The most seconds of a response.")
        max_held: int = Field(
            default=100, ge=1, le=100_000, description="How many are held at once in each worker."
        )
        max_per_client: int = Field(
            default=4, ge=1, description="How many of them are one client's, by its network."
        )
        status: int = Field(default=200, ge=200, le=599, description="The status of all that they get.")
        ipv6_prefix: int = Field(
            default=64, ge=1, le=128, description="The bits of an IPv6 address that are one client."
        )
        memory: str = Field(default="1m", description="The size of the table of clients.")

    def setup(self, context: PluginContext) -> None:
        """Makes the table."""
        self._traps = Entries(self.config.traps)
        self._key = f"{context.name} held"
        self._caught = context.shared("caught", self.config.memory)
        self._held: dict[str, int] = {}
        self._count = 0
        self._trapped, self._let_go = context.counter("held"), context.counter("let_go")
        self._log, self._masked = context.log, context.masked

    def native(self) -> Native:
        """Clients that were not caught, and paths that are no traps."""
        trap = self._traps.natively("path")
        if trap is None:
            return Native()
        listed = [AskListed(Who(["address"], 32, self.config.ipv6_prefix), self._caught)]
        looks = [*(listed if self.config.remember else []), trap]
        return Native(request=[*looks, Mark(self._key)], log=[EndNoted(self._key)])

    def request(self, request: Request) -> Response | None:
        """Holds up, as long as there is room."""
        config = self.config
        client = client_network(request.client.address, 32, config.ipv6_prefix)
        if self._traps.match(unquote(request.path)):
            if config.remember and self._caught.add(client, 1, config.remember):
                self._log.warning(
                    "caught", extra={"client": client, "path": self._masked(request.path)[:200]}
                )
        elif not config.remember or client not in self._caught:
            return None
        if self._count >= config.max_held or self._held.get(client, 0) >= config.max_per_client:
            self._let_go.add()
            return Response(config.status)
        self._count += 1
        self._held[client] = self._held.get(client, 0) + 1
        vars(request.state)[self._key] = client
        self._trapped.add()
        return Response(config.status, self._pieces(), headers=[("content-type", "text/html; charset=utf-8")])

    def log(self, request: Request, response: ResponseView | None) -> None:
        """Makes room: the client has left, or has had enough."""
        client = vars(request.state).pop(self._key, None)
        if client is None:
            return
        self._count -= 1
        left = self._held[client] - 1
        if left:
            self._held[client] = left
        else:
            del self._held[client]

    async def _pieces(self) -> AsyncIterator[bytes]:
        """Something that could become a page."""
        yield b"<!doctype html>\n<html>\n<head>\n"
        loop = asyncio.get_running_loop()
        until = loop.time() + self.config.duration
        while loop.time() < until:
            await asyncio.sleep(min(self.config.interval, max(until - loop.time(), 0)))
            name = "".join(random.choices(LETTERS, k=8))
            yield f'<meta name="{name}">\n'.encode()
