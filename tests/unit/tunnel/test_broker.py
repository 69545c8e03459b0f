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


def test_connections_beside_a_tunnel_end_with_their_token_and_when_their_name_is_for_streams_only(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        broker = Broker(tmp_path, Counters())
        token = Token(b"1" * 32, "home", frozenset(("a", "b")))
        broker.configure([token], 5, 10)
        broker._made(Asked("", "", ("a", "b"), "id"), token).connection_made(Memory())

        def opened(name: str) -> Any:
            leash = broker._made(Asked("", "", (name,), "id", is_reversed=True), token)
            leash.connection_made(Memory())
            return leash

        one, two = opened("a"), opened("b")
        broker.configure([token], 5, 10, frozenset("a"))
        assert one._transport.is_closing() and not two._transport.is_closing()
        broker.configure([token._replace(digest=b"2" * 32)], 5, 10)
        assert two._transport.is_closing()
        broker.close()
        await asyncio.sleep(0)

    run(test)
