"""Tells crawlers that are who they say from those that only say so."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response

from ._fields import FieldName
from ._networks import packed_address
from ._remembered import Remembered

CRAWLERS = {
    "Googlebot": ["googlebot.com", "google.com"],
    "Bingbot": ["search.msn.com"],
    "Applebot": ["applebot.apple.com"],
    "YandexBot": ["yandex.ru", "yandex.net", "yandex.com"],
    "Baiduspider": ["baidu.com", "baidu.jp"],
    "DuckDuckBot": ["duckduckgo.com"],
}


class BotDetection(Plugin):
    """Verifies clients that call themselves a crawler: the name of their address must be the crawler's, and have that
    address (reverse and forward DNS, as the crawlers' owners say to do it).

    What is found is kept, for `seconds`. While DNS lookups fail, no client is refused. The server gets the name of
    a verified crawler in `header`, which clients cannot send.
    """

    order = -350

    class Config(BaseModel):
        """Settings of `bot-detection`."""

        model_config = ConfigDict(extra="forbid")

        crawlers: dict[str, list[str]] = Field(
            default=CRAWLERS,
            description="Words in `User-Agent`, with the domains that the crawler's addresses have names in.",
        )
        header: FieldName = Field(default="x-verified-bot", description="The field that tells the server.")
        status: int = Field(default=403, ge=400, le=599, description="The status that impostors get.")
        seconds: float = Field(default=86400, gt=0, description="How long a verdict is kept.")
        timeout: float = Field(
            default=2, gt=0, description="The longest that names are looked up, in seconds."
        )
        memory: str = Field(default="4m", description="The size of the table of addresses.")

    def setup(self, context: PluginContext) -> None:
        """Makes the table."""
        context.remove_from_clients(self.config.header)
        self._context = context
        self._crawlers = {
            word.lower(): (word, tuple(f".{one.lower().strip('.')}" for one in domains))
            for word, domains in self.config.crawlers.items()
        }
        self._named = Remembered(self._crawler)
        self._verdicts = context.shared("verdicts", self.config.memory)
        self._denied = context.counter("denied")
        self._resolver: Any = _Names()

    async def request(self, request: Request) -> Response | None:
        """Verifies who says to be a crawler."""
        found = self._named[request.headers.get("user-agent", "")]
        if found is None:
            return None
        name, domains = found
        key = f"{name} {request.client.address}"
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = await self._verify(request.client.address, domains)
            if verdict is not None:
                self._verdicts.set(key, verdict, self.config.seconds)
        if verdict is False:
            self._denied.add()
            return Response(self.config.status, "not who it says\n")
        if verdict:
            request.headers[self.config.header] = name
        return None

    def _crawler(self, agent: str) -> tuple[str, tuple[str, ...]] | None:
        """Who a client says to be, with the domains of that crawler."""
        agent = agent[:1024].lower()
        return next((one for word, one in self._crawlers.items() if word in agent), None)

    async def _verify(self, address: str, domains: tuple[str, ...]) -> bool | None:
        """Whether the address is of one of the domains; none if that cannot be told now."""
        packed = packed_address(address)
        if packed is None:
            return False
        try:
            async with asyncio.timeout(self.config.timeout):
                name = await self._context.run_in_thread(self._resolver.name_of, address)
                if name is None or not f".{name.lower().rstrip('.')}".endswith(domains):
                    return False
                addresses = await self._context.run_in_thread(self._resolver.addresses_of, name)
                return packed in [packed_address(one) for one in addresses]
        except (OSError, TimeoutError):
            return None


class _Names:
    """The system's resolver."""

    def name_of(self, address: str) -> str | None:
        """The name of an address; none if it has none."""
        try:
            return socket.gethostbyaddr(address)[0]
        except socket.herror:
            return None

    def addresses_of(self, name: str) -> list[str]:
        """The addresses of a name."""
        return [str(one[4][0]) for one in socket.getaddrinfo(name, None)]
