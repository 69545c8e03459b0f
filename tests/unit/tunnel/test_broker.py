"""The gateway's side of tunnels: whose tunnels stay when tokens change."""

import asyncio
from pathlib import Path
from typing import Any

from headgate.tunnel.broker import Broker
from headgate.tunnel.endpoint import Token
from headgate.tunnel.handshake import Asked

from .test_link import Memory, run


class Counters:
    """Counts nothing."""

    def tunnels(self, name: str, change: int) -> None:
        """See `Counters`."""

    def reversed(self, name: str, change: int) -> None:
        """See `Counters`."""

    def stream(self, name: str, outcome: str) -> None:
        """See `Counters`."""


def test_a_tunnel_ends_with_the_token_that_it_was_opened_with(tmp_path: Path) -> None:
    async def test() -> None:
        broker = Broker(tmp_path, Counters())
        old = Token(b"1" * 32, "home", frozenset(("a", "b")))
        broker.configure([old], 5, 10)

        def opened(*names: str) -> Any:
            link = broker._made(Asked("", "", names), old)
            link.connection_made(Memory())
            return link

        one, two = opened("a"), opened("b")
        broker.configure([old._replace(names=frozenset("a"))], 5, 10)
        assert set(broker._links) == {one}
        broker.configure([old], 5, 10)
        assert set(broker._links) == {one}
        broker.configure([old._replace(digest=b"2" * 32)], 5, 10)
        assert not broker._links and two._transport is None
        broker.close()
        await asyncio.sleep(0)

    run(test)
