"""What a registry lists, and what is believed of it: an empty list may be the registry's own fault.

How it works: a listing that is empty, or smaller than `suspect_below` of the one before, is held for `hold`: the one
before stays in use, and the status says so. If the registry still says so after that, it is believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from headgate.config.addresses import TcpAddress, parse_server_address
from headgate.config.errors import ConfigError
from headgate.config.placement import MOST_MARKS, check_metadata, check_zone

from ..outcomes import Failed, Outcome, Resolved
from .calls import RegistryFailed

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0


class Server(NamedTuple):
    """One server of a listing."""

    address: str
    weight: int = 1
    backup: bool = False
    zone: str | None = None
    metadata: Mapping[str, str] = MappingProxyType({})


Listing = list[Server]


def records_of(listing: Listing, *, is_secure: bool) -> tuple[str, ...]:
    """The servers as sets of servers have them: JSON, each address once, in order; raises `RegistryFailed` for what no
    server's address is.
    """
    for one in listing:
        _check(one.address)
    scheme = "https://" if is_secure else ""
    unique = {one.address: one for one in reversed(listing)}
    return tuple(
        json.dumps(
            {
                "address": f"{scheme}{one.address}",
                "weight": one.weight,
                "backup": one.backup,
                **_place(one),
            }
        )
        for one in sorted(unique.values())
    )


def _place(one: Server) -> dict[str, Any]:
    """Where it is and what it is marked with, as far as servers of the configuration could have it."""
    metadata: dict[str, str] = {}
    for name, value in one.metadata.items():
        with contextlib.suppress(ConfigError):
            check_metadata({name: value})
            metadata[name] = value
            if len(metadata) == MOST_MARKS:
                break
    placed: dict[str, Any] = {"metadata": metadata} if metadata else {}
    with contextlib.suppress(ConfigError):
        if one.zone:
            placed["zone"] = check_zone(one.zone)
    return placed


def _check(address: str) -> None:
    """A registry names hosts and ports, and nothing else that an address of the configuration may be."""
    try:
        parsed = parse_server_address(address)
        is_server = type(parsed) is TcpAddress and not address.startswith(":") and "://" not in address
    except ConfigError:
        is_server = False
    if is_server:
        with contextlib.suppress(ValueError):
            ip = ipaddress.ip_address(parsed.host)  # type: ignore[union-attr]
            is_server = not (ip.is_unspecified or ip.is_multicast)
    if not is_server:
        raise RegistryFailed(f"`{address[:100]}` is not the address of a server")


async def outcomes(
    source: Callable[[], AsyncIterator[Listing]],
    *,
    is_secure: bool,
    hold_s: float,
    suspect_below: float,
    known: tuple[str, ...] = (),
) -> AsyncGenerator[Outcome, None]:
    """What a registry comes to, for ever: it is asked again after each failure, later each time, and by chance."""
    failures = 0
    belief = Belief(hold_s, suspect_below, known)
    while True:
        coming: asyncio.Future[Listing] | None = None
        listings = source()
        try:
            while True:
                coming = coming or asyncio.ensure_future(anext(listings))
                await asyncio.wait([coming], timeout=belief.left_s(_now()))
                if coming.done():
                    listing, coming = coming.result(), None
                    failures = 0
                    yield belief.take(records_of(listing, is_secure=is_secure), _now())
                elif (held := belief.overdue(_now())) is not None:
                    yield held
        except Exception as error:  # whatever a registry says, it is asked again
            failures += 1
            yield Failed(str(error) or type(error).__name__)
        finally:
            if coming:
                coming.cancel()
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
        await asyncio.sleep(pause_s * (0.5 + 0.5 * random.random()))


def _now() -> float:
    return asyncio.get_running_loop().time()


class Belief:
    """What is held for suspect, and until when; times are passed in. `known` is what was believed before."""

    def __init__(self, hold_s: float, suspect_below: float, known: tuple[str, ...] = ()) -> None:
        self._hold_s, self._suspect_below = hold_s, suspect_below
        self._believed = known
        self._held: tuple[str, ...] | None = None
        self._since_s = 0.0

    def left_s(self, now_s: float) -> float | None:
        """How long what is held is held; None if nothing is."""
        return None if self._held is None else max(0.0, self._since_s + self._hold_s - now_s)

    def take(self, records: tuple[str, ...], now_s: float) -> Outcome:
        """What a listing comes to."""
        if not self._is_suspect(records):
            self._believed, self._held = records, None
            return Resolved(records, 0.0)
        if self._held is None:
            self._since_s = now_s
        self._held = records
        count = (
            f"{len(records)} of {len(self._believed)} servers are listed"
            if records
            else "no servers are listed"
        )
        return self.overdue(now_s) or Failed(f"{count}; the last ones are used for {self._hold_s:g} s")

    def overdue(self, now_s: float) -> Outcome | None:
        """What was held for long enough to be believed."""
        if self._held is None or now_s - self._since_s < self._hold_s:
            return None
        self._believed, self._held = self._held, None
        return Resolved(self._believed, 0.0)

    def _is_suspect(self, records: tuple[str, ...]) -> bool:
        before = len(self._believed)
        return bool(before) and (not records or len(records) < before * self._suspect_below)
