"""The gateway's side: tunnels that have come in, and the Unix socket of each name that leads into them.

How it works: workers dial `NAME.sock` as any server's address. A connection goes into the tunnel of that name with the
fewest streams; until the tunnel has connected it nothing of it is read, so it can still go into another one. The
socket of a name is there while a tunnel exposes it, and for `wait` seconds after the last one, in which connections
wait for the next: a tunnel that is dialled anew loses no request that was not under way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from headgate.config.addresses import TUNNEL_ENDPOINT as ENDPOINT
from headgate.control.broker_socket import BrokerSocket

from .endpoint import Handshake, Token, owner_of
from .frames import Kind
from .handshake import Asked, Refused
from .link import DOUBT_S, Link
from .reversed import Leash
from .stream import Stream

MOST_REVERSED = 4096
"""Connections beside one tunnel."""

log = logging.getLogger("headgate.tunnel")


class Counters(Protocol):
    """What is counted."""

    def tunnels(self, name: str, change: int) -> None:
        """A name is exposed by so many more tunnels."""

    def reversed(self, name: str, change: int) -> None:
        """There are so many more connections beside tunnels."""

    def stream(self, name: str, outcome: str) -> None:
        """A connection to a name was `opened`, `refused`, has `moved` to another tunnel, or was `unavailable`."""


class Attempt:
    """A connection of a worker on its way into a tunnel."""

    def __init__(self, name: str, stream: Stream) -> None:
        self.name, self.stream = name, stream
        self.tried: set[Link] = set()
        self.limit: asyncio.TimerHandle | None = None


class Broker:
    """Tunnels and names; `wait_s` is how long a connection waits for a tunnel."""

    def __init__(self, folder: Path, counters: Counters) -> None:
        self._folder, self._counters = folder, counters
        self._loop = asyncio.get_running_loop()
        self._tokens: Sequence[Token] = ()
        self._wait_s, self._most = 5.0, 1000
        self._links: dict[Link, Token] = {}
        """With the token that each was opened with."""
        self._frames_only: frozenset[str] = frozenset()
        """Names whose connections no worker keeps."""
        self._leashes: dict[Leash, Token] = {}
        self._sockets: dict[str, BrokerSocket] = {}
        self._endings: dict[str, asyncio.TimerHandle] = {}
        self._opening: dict[tuple[Link, int], Attempt] = {}
        self._waiting: dict[str, list[Attempt]] = {}
        self._is_ending = False

    def configure(
        self, tokens: Sequence[Token], wait_s: float, most: int, frames_only: frozenset[str] = frozenset()
    ) -> None:
        """Takes tunnels from these from here on; those of others end."""
        self._tokens, self._wait_s, self._most = tokens, wait_s, most
        self._frames_only = frames_only
        if ENDPOINT not in self._sockets:
            self._sockets[ENDPOINT] = BrokerSocket(self._folder, ENDPOINT, self._handshake)
        valid = {one.name: one for one in tokens}

        def is_valid(opened: Token, names: frozenset[str]) -> bool:
            token = valid.get(opened.name)
            return token is not None and token.digest == opened.digest and names <= token.names

        for link, opened in list(self._links.items()):
            if not is_valid(opened, link.names):
                link.close("its token is not valid any more")
        for leash, opened in list(self._leashes.items()):
            if leash.name in frames_only or not is_valid(opened, frozenset((leash.name,))):
                leash.close()

    def renew(self) -> None:
        """Has every client dial anew, as the workers that hold its connection are being replaced."""
        for link in list(self._links):
            link.leave()

    def end(self) -> None:
        """The gateway stops: tunnels end as soon as nothing goes through them."""
        self._is_ending = True
        for link in list(self._links):
            link.end_when_idle()

    @property
    def is_replaced(self) -> bool:
        """Whether the broker of another supervisor has taken the place of this one."""
        return ENDPOINT in self._sockets and self._sockets[ENDPOINT].is_replaced

    def close(self) -> None:
        """Ends all tunnels and sockets."""
        for one in self._sockets.values():
            one.close()
        self._sockets.clear()
        for link in list(self._links):
            link.close("the gateway ends")
        for leash in list(self._leashes):
            leash.close()

    # ---- tunnels

    def _handshake(self) -> Handshake:
        return Handshake(self._check, self._made)

    def _check(self, wanted: Asked) -> Token:
        token = owner_of(wanted, self._tokens)
        if self._is_ending:
            raise Refused(503, "the gateway stops")
        if wanted.is_reversed:
            self._check_reversed(wanted, token)
            return token
        if len(self._links) >= self._most:
            raise Refused(503, "there are too many tunnels")
        if sum(1 for one in self._links.values() if one.name == token.name) >= token.most:
            raise Refused(503, "there are too many tunnels with this token")
        return token

    def _check_reversed(self, wanted: Asked, token: Token) -> None:
        links = [
            link
            for link, one in self._links.items()
            if link.tunnel == wanted.tunnel and one.name == token.name
        ]
        if (
            not wanted.tunnel
            or len(wanted.names) != 1
            or not any(wanted.names[0] in one.names for one in links)
        ):
            raise Refused(400, "there is no such tunnel")
        if wanted.names[0] in self._frames_only:
            raise Refused(400, "the name is for streams only")
        if sum(1 for one in self._leashes if one.tunnel == wanted.tunnel) >= MOST_REVERSED:
            raise Refused(503, "there are too many connections beside the tunnel")

    def _made(self, wanted: Asked, token: Token) -> Link | Leash:
        if wanted.is_reversed:
            leash = Leash(wanted.names[0], wanted.tunnel, self._let_go)
            self._leashes[leash] = token
            self._counters.reversed(leash.name, 1)
            self._look_beside(leash.tunnel)
            return leash
        link = Link(self, is_client=False, names=wanted.names, who=token.name, tunnel=wanted.tunnel)
        self._links[link] = token
        log.info("tunnel opened", extra={"of": token.name, "exposes": sorted(link.names)})
        for name in link.names:
            self._counters.tunnels(name, 1)
            if ending := self._endings.pop(name, None):
                ending.cancel()
            if name not in self._sockets:
                self._sockets[name] = BrokerSocket(self._folder, name, partial(self._accepted, name))
            for attempt in self._waiting.pop(name, ()):
                self._cancel_limit(attempt)
                self._loop.call_soon(self._try, attempt)
        return link

    def _let_go(self, leash: Leash) -> None:
        if self._leashes.pop(leash, None):
            self._counters.reversed(leash.name, -1)
            self._look_beside(leash.tunnel)

    def _look_beside(self, tunnel: str) -> None:
        has_beside = any(one.tunnel == tunnel for one in self._leashes)
        for link in self._links:
            if link.tunnel == tunnel:
                link.has_beside = has_beside

    def on_closed(self, link: Link, reason: str) -> None:
        """See `Owner`."""
        if link not in self._links:
            return
        del self._links[link]
        for leash in [one for one in self._leashes if one.tunnel == link.tunnel]:
            leash.close()  # what has broken the tunnel has broken them as well
        log.info("tunnel closed: %s", reason, extra={"of": link.who, "exposes": sorted(link.names)})
        for name in link.names:
            self._counters.tunnels(name, -1)
            if not any(name in other.names for other in self._links) and name in self._sockets:
                self._endings[name] = self._loop.call_later(self._wait_s, self._unlisted, name)
        for key in [key for key in self._opening if key[0] is link]:
            self._move(self._opening.pop(key), "moved")

    def on_open(self, link: Link, number: int, name: str) -> None:
        """See `Owner`; only the gateway opens streams."""
        link.close("invalid data: only the gateway opens streams")

    def on_opened(self, link: Link, number: int, refusal: str | None) -> None:
        """See `Owner`."""
        attempt = self._opening.pop((link, number), None)
        if attempt is None and not link.was_given_up(number):
            return link.close("invalid data: a stream that nobody opens")
        if attempt is None or attempt.stream.transport is None:
            if refusal is None:
                link.send(Kind.RESET, number)
            if attempt:
                self._cancel_limit(attempt)
            return None
        if refusal is None:
            self._cancel_limit(attempt)
            self._counters.stream(attempt.name, "opened")
            return link.add(number, attempt.stream)
        log.warning(
            "`%s` is not reachable through a tunnel: %s", attempt.name, refusal[:500], extra={"of": link.who}
        )
        return self._move(attempt, "refused")

    def on_leave(self, link: Link) -> None:
        """See `Owner`."""
        link.leave()

    def on_alive(self, link: Link) -> None:
        """See `Owner`."""

    # ---- connections of workers

    def _accepted(self, name: str) -> Stream:
        return Stream(lambda stream: self._try(Attempt(name, stream)), lambda stream: None)

    def _try(self, attempt: Attempt) -> None:
        """Opens a stream in the best tunnel that was not tried, or waits for one where there is none at all."""
        if attempt.stream.transport is None:
            return
        links = [link for link in self._links if attempt.name in link.names]
        usable = [link for link in links if link not in attempt.tried]
        if not usable:
            if attempt.tried:
                return self._give_up(attempt)
            self._waiting.setdefault(attempt.name, []).append(attempt)
            attempt.limit = self._loop.call_later(self._wait_s, self._waited, attempt)
            return None
        link = min(usable, key=lambda one: (one.is_ending, one.is_full, len(one.streams)))
        # the next of equals first
        self._links[link] = self._links.pop(link)
        attempt.tried.add(link)
        number = link.next_number()
        self._opening[link, number] = attempt
        attempt.limit = self._loop.call_later(DOUBT_S, self._late, link, number)
        link.send(Kind.OPEN, number, attempt.name.encode())
        return None

    def _late(self, link: Link, number: int) -> None:
        if attempt := self._opening.pop((link, number), None):
            link.give_up(number)
            self._move(attempt, "moved")

    def _move(self, attempt: Attempt, outcome: str) -> None:
        self._cancel_limit(attempt)
        self._counters.stream(attempt.name, outcome)
        if outcome == "moved" and not any(attempt.name in link.names for link in self._links):
            attempt.tried.clear()  # its tunnel has gone, and may be dialled anew
        self._try(attempt)

    def _waited(self, attempt: Attempt) -> None:
        waiting = self._waiting.get(attempt.name, [])
        if attempt in waiting:
            waiting.remove(attempt)
        self._give_up(attempt)

    def _give_up(self, attempt: Attempt) -> None:
        self._counters.stream(attempt.name, "unavailable")
        attempt.stream.abort()

    def _cancel_limit(self, attempt: Attempt) -> None:
        if attempt.limit:
            attempt.limit.cancel()

    def _unlisted(self, name: str) -> None:
        self._endings.pop(name, None)
        if listening := self._sockets.pop(name, None):
            listening.close()
