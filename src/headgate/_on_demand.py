"""Certificates on demand, as workers take part: a `client_hello` hook that waits while one is ordered.

How it works: for a name that has no certificate yet, the user's function or URL is asked. If it allows the name, a file
`wanted/NAME` is made, which the agent sees; it orders, writes `on_demand/NAME.pem`, and removes `wanted/NAME` in any
case. A certificate that is due while clients still come is ordered again in the same way, after the same question,
while the old one serves; one that nobody asks for ends.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from ._core import Certificate, fetch
from ._hook_checks import check_call
from .config.acme_on_demand import OnDemandConfig
from .config.errors import ConfigError

Ask = Callable[[str], Any]
"""The user's function: whether a certificate for the name may be ordered; sync or async."""

DUE = "Renew-After: "
"""Begins the first line of a certificate's file, before the seconds since 1970 from which on it is to be renewed."""

LOOKS_EVERY_S = 0.05
MOST_WAITING, MOST_KEPT, MOST_REFUSED = 100, 1000, 10_000
ORDER_LIMIT_S = 120.0
REFUSED_FOR_S, RENEWS_AGAIN_S = 60.0, 3600.0
VALIDATION = ["acme-tls/1"]
"""What an authority's own connection offers (RFC 8737), which must not wait for what it is to prove."""

logger = logging.getLogger("headgate.acme")


class Kept(NamedTuple):
    """A certificate in memory, and the file that it is of."""

    stamp: tuple[int, int]
    certificate: Certificate
    renew_after: float


class OnDemand:
    """The hook of one listener. `is_served` says which names have certificates in other ways."""

    def __init__(
        self, config: OnDemandConfig, ask: Ask | None, folder: Path, is_served: Callable[[str], bool]
    ) -> None:
        self._config, self._ask, self._folder, self._is_served = config, ask, folder, is_served
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._refused: OrderedDict[str, float] = OrderedDict()
        self._orders: dict[str, asyncio.Task[None]] = {}

    async def client_hello(self, connection: Any) -> Certificate | None:
        """The certificate of the name that the client asks for; `None` leaves it to what is configured."""
        name = connection.server_name
        if not name or connection.alpn == VALIDATION or self._is_served(name):
            return None
        kept = self._found(name)
        if kept is None:
            await self._wait(name)
            kept = self._found(name)
        elif time.time() >= kept.renew_after:
            self._order(name, RENEWS_AGAIN_S)
        return kept.certificate if kept else None

    async def _wait(self, name: str) -> None:
        if task := self._order(name, REFUSED_FOR_S):
            await asyncio.wait([task], timeout=self._config.wait)

    def _order(self, name: str, refused_for_s: float) -> asyncio.Task[None] | None:
        """The order of a name, which all its clients share; none where it was refused lately, or too many wait."""
        now = time.monotonic()
        if self._refused.get(name, now) > now:
            return None
        if name not in self._orders:
            if len(self._orders) >= MOST_WAITING:
                return None
            task = asyncio.get_running_loop().create_task(self._obtain(name, refused_for_s))
            self._orders[name] = task
            task.add_done_callback(lambda _: self._orders.pop(name))
        return self._orders[name]

    async def _obtain(self, name: str, refused_for_s: float) -> None:
        before = self._stamp(name)
        try:
            async with asyncio.timeout(self._config.wait):
                is_allowed = await self._is_allowed(name)
        except Exception as error:
            logger.error(
                "whether `%s` may have a certificate is not known: %s",
                name,
                str(error) or "no response in time",
            )
            is_allowed = False
        if is_allowed:
            wanted = self._folder / "wanted" / name
            try:
                wanted.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                wanted.touch(mode=0o600)
            except OSError as error:
                logger.error("the certificate for `%s` cannot be ordered: %s", name, error)
            else:
                for _ in range(int(ORDER_LIMIT_S / LOOKS_EVERY_S)):
                    if self._stamp(name) != before or not wanted.exists():
                        break
                    await asyncio.sleep(LOOKS_EVERY_S)
        if self._stamp(name) == before:
            self._refused[name] = time.monotonic() + refused_for_s
            while len(self._refused) > MOST_REFUSED:
                self._refused.popitem(last=False)

    async def _is_allowed(self, name: str) -> bool:
        if self._ask is not None:
            allowed = self._ask(name)
            return bool(await allowed if inspect.isawaitable(allowed) else allowed)
        url = self._config.ask or ""
        response = await fetch(
            f"{url}{'&' if '?' in url else '?'}domain={quote(name)}", timeout=self._config.wait
        )
        return bool(response.ok)

    def _found(self, name: str) -> Kept | None:
        """The certificate of a name that is valid now, if its file holds one."""
        stamp = self._stamp(name)
        kept = self._kept.get(name)
        if stamp is not None and (kept is None or kept.stamp != stamp):
            kept = self._read(name, stamp)
            if kept is not None:
                self._kept[name] = kept
        if stamp is None or kept is None or kept.certificate.not_after <= time.time():
            self._kept.pop(name, None)
            return None
        self._kept.move_to_end(name)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return kept

    def _read(self, name: str, stamp: tuple[int, int]) -> Kept | None:
        try:
            text = (self._folder / "on_demand" / f"{name}.pem").read_text("ascii")
            first = text.partition("\n")[0]
            due = float(first.removeprefix(DUE)) if first.startswith(DUE) else 0.0
            return Kept(stamp, Certificate(text), due)
        except (OSError, ValueError) as error:
            logger.error("the certificate for `%s` cannot be used: %s", name, error)
            return None

    def _stamp(self, name: str) -> tuple[int, int] | None:
        try:
            found = os.stat(self._folder / "on_demand" / f"{name}.pem")
        except (OSError, ValueError):
            return None
        return found.st_mtime_ns, found.st_ino


def refuse_without_question(config: OnDemandConfig | None, ask: Ask | None) -> None:
    """Raises `ConfigError` where anybody could have certificates ordered, or where two would decide."""
    if config is None or (config.ask is None) != (ask is None):
        return
    if ask is None:
        raise ConfigError(
            "`acme.on_demand` asks nobody which names are allowed",
            hint="set `ask` to a URL, or decorate a function with `@gate.acme_ask`",
        )
    raise ConfigError("both `acme.on_demand.ask` and `@gate.acme_ask` decide", hint="leave one of them out")


def check_ask(function: Any) -> None:
    """Raises `ConfigError` for what cannot be called with a name."""
    check_call(
        function,
        ("name",),
        what="what decides on certificates",
        called="with a name",
        hint="write `def allowed(name):`",
    )
