"""One tunnel, from either end: a connection that carries frames of many streams.

How it works: frames of one turn of the loop are written together. A tunnel is dead when nothing has come for two
pings, or when nothing at all has come for `DOUBT_S` after something was sent into the silence; then its streams are
reset, and what was to be opened moves on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol, cast

from .frames import MOST_MESSAGE_BYTES, Closed, Kind, ProtocolError, Reading, Writing
from .stream import Stream

PING_S = 15.0
PING_BESIDE_S = 3.0
"""While there are connections beside the tunnel: whether these are alive is only known from it."""
DEAD_AFTER_S = 2 * PING_S
"""Without a byte from the other side."""
DOUBT_S = 5.0
"""For any sign of life after a stream was opened, or something was sent after a silence."""
SILENCE_S = 1.0
IDLE_S = 1.0
"""Without a stream: a request that is under way may be about to need one."""
MOST_STREAMS = 10_000
"""Of a tunnel; and of those that were given up before the other side said a word of them."""


class Owner(Protocol):
    """Who works with a link."""

    def on_open(self, link: Link, number: int, name: str) -> None:
        """The other side wants a stream to what is exposed under `name`."""

    def on_opened(self, link: Link, number: int, refusal: str | None) -> None:
        """The other side has connected a stream, or has not, for this reason."""

    def on_leave(self, link: Link) -> None:
        """The other side takes or opens no further streams here."""

    def on_alive(self, link: Link) -> None:
        """The first pong has come."""

    def on_closed(self, link: Link, reason: str) -> None:
        """The link has ended, and all its streams."""


class Link(asyncio.Protocol):
    """The protocol of a connection after its handshake."""

    def __init__(
        self,
        owner: Owner,
        *,
        is_client: bool,
        names: Iterable[str] = (),
        who: str = "",
        tunnel: str = "",
    ) -> None:
        self.names, self.who = frozenset(names), who
        """What it exposes, and whose it is, for logs."""
        self.tunnel = tunnel
        """Its id, which connections beside it refer to; empty for a client that has none."""
        self.has_beside = False
        """Whether there are such."""
        self.is_ending = False
        self.is_full = False
        """Whether the connection takes no more for now."""
        self.streams: dict[int, Stream] = {}
        self._owner = owner
        self._reading, self._writing = Reading(is_client=is_client), Writing(is_client=is_client)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._last_number = 0
        self._heard_s = self._pinged_s = self._loop.time()
        self._doubt_s: float | None = None
        self._is_alive = False
        self._idle_s: float | None = None
        """Since when no stream was open, if that is to end it."""
        self._ticking: asyncio.TimerHandle | None = None
        self._given_up: set[int] = set()
        """Streams that were reset before the other side had said whether it has them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`; called by the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=2 * MOST_MESSAGE_BYTES)
        self.send(Kind.PING, 0)
        self._tick()

    # ---- what the owner does

    def next_number(self) -> int:
        """For a stream to be opened."""
        self._last_number = self._last_number % 0xFFFF_FFFF + 1
        return self._last_number

    def send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        """Sends a frame, with those of this turn of the loop."""
        if self._transport is None:
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(self._writing.frame(kind, number, payload))
        if self._doubt_s is None and kind is not Kind.PONG:
            now_s = self._loop.time()
            if kind is Kind.OPEN:
                self._doubt_s = now_s
            elif kind is Kind.DATA and now_s - self._heard_s > SILENCE_S:
                self._doubt_s = now_s
                self._out.append(self._writing.frame(Kind.PING, 0))

    def give_up(self, number: int) -> None:
        """Wants a stream no more that was to be opened."""
        self._given_up.add(number)
        self.send(Kind.RESET, number)
        if len(self._given_up) > MOST_STREAMS:
            self.close("it opens no streams", is_dead=True)

    def was_given_up(self, number: int) -> bool:
        """Whether the stream was; once."""
        was = number in self._given_up
        self._given_up.discard(number)
        return was

    def add(self, number: int, stream: Stream) -> None:
        """Gives the stream what comes for it, and the stream the link."""
        self.streams[number] = stream
        stream.join(self, number)

    def forget(self, number: int) -> None:
        """The stream is over."""
        self.streams.pop(number, None)
        if self.is_ending and not self.streams:
            self.close("it has left")

    def leave(self) -> None:
        """Opens or takes no further streams, has the other side dial another tunnel, and ends with the last stream."""
        if not self.is_ending:
            self.is_ending = True
            self.send(Kind.LEAVE, 0)
            if not self.streams:
                self._loop.call_later(DOUBT_S, self._end_if_idle)

    def end_when_idle(self) -> None:
        """Ends it when no stream was open for `IDLE_S`; the other side is to dial again when it can."""
        self._idle_s = self._loop.time()

    def close(self, reason: str, *, is_dead: bool = False) -> None:
        """Ends it and its streams."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        if self._ticking:
            self._ticking.cancel()
        if is_dead:
            transport.abort()
        else:
            transport.write(b"".join((*self._out, self._writing.close())))
            transport.close()
            # what is written may never be read
            self._loop.call_later(DOUBT_S, transport.abort)
        self._out.clear()
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.on_reset()
        self._owner.on_closed(self, reason)

    # ---- what comes

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._heard_s, self._doubt_s = self._loop.time(), None
        try:
            for kind, number, payload in self._reading.feed(data):
                self._take(kind, number, payload)
            ping, self._reading.ping = self._reading.ping, None
            if ping is not None and self._transport and not self.is_full:
                self._transport.write(self._writing.pong(ping))
        except Closed:
            self.close("the other side has closed it")
        except (ProtocolError, UnicodeDecodeError) as error:
            self.close(f"invalid data: {error}")

    def eof_received(self) -> None:
        """See `asyncio.Protocol`."""
        self.close("the connection has ended", is_dead=True)

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.close(f"the connection was lost: {error}" if error else "the connection has ended", is_dead=True)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._set_full(True)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._set_full(False)

    # ---- steps

    def _take(self, kind: Kind, number: int, payload: bytes) -> None:
        stream = self.streams.get(number)
        match kind:
            case Kind.DATA:
                if stream and not stream.on_data(payload):
                    raise ProtocolError("more bytes than were granted")
            case Kind.WINDOW:
                if stream:
                    stream.on_window(int.from_bytes(payload[:4]))
            case Kind.END:
                if stream:
                    stream.on_end()
            case Kind.RESET:
                if stream:
                    self.forget(number)
                    stream.on_reset()
            case Kind.OPEN:
                self._owner.on_open(self, number, payload.decode())
            case Kind.OPENED | Kind.REFUSED:
                refusal = payload.decode(errors="replace") if kind is Kind.REFUSED else None
                self._owner.on_opened(self, number, refusal)
            case Kind.PING:
                # the other side of a tunnel that is full sees signs of life as soon as it reads
                if not self.is_full:
                    self.send(Kind.PONG, number, payload[:8])
            case Kind.PONG:
                if not self._is_alive:
                    self._is_alive = True
                    self._owner.on_alive(self)
            case Kind.LEAVE:
                self.is_ending = True
                self._owner.on_leave(self)

    def _flush(self) -> None:
        if self._out and self._transport:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _set_full(self, is_full: bool) -> None:
        self.is_full = is_full
        for stream in list(self.streams.values()):
            stream.on_link(is_full=is_full)

    def _end_if_idle(self) -> None:
        if not self.streams:
            self.close("it has left")

    def _tick(self) -> None:
        if self._transport is None:
            return
        now_s = self._loop.time()
        is_sent = not self._transport.get_write_buffer_size()
        if now_s - self._heard_s > DEAD_AFTER_S:
            return self.close("no response to two pings", is_dead=True)
        if self._doubt_s is not None and is_sent and now_s - self._doubt_s > DOUBT_S:
            return self.close(f"no response within {DOUBT_S:g} s", is_dead=True)
        if self._idle_s is not None:
            if self.streams:
                self._idle_s = now_s
            elif now_s - self._idle_s >= IDLE_S:
                return self.close("the gateway stops")
        if now_s - self._pinged_s >= (PING_BESIDE_S if self.has_beside else PING_S):
            self._pinged_s = now_s
            self.send(Kind.PING, 0)
            if self.has_beside and self._doubt_s is None:
                self._doubt_s = now_s
        self._ticking = self._loop.call_later(0.5, self._tick)
        return None
