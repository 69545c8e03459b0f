"""One certificate, from the first authority that gives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from headgate.config.acme import AcmeConfig

from . import schedule
from .authority import LEFT_ALONE, Authority, AuthorityError
from .dns import DnsError, DnsRecords, records_of
from .order import order
from .storage import Storage


class NotIssued(Exception):
    """No authority gave one, and why; `wait` is how long the first that may be asked again asks to wait."""

    def __init__(self, problems: list[str], wait: timedelta | None) -> None:
        super().__init__("; ".join(problems)[:2000])
        self.wait = wait


class Issuer:
    """Orders from the configured authorities, best first; one order at a time."""

    def __init__(self, config: AcmeConfig, storage: Storage, now: Callable[[], datetime]) -> None:
        self._config, self._storage, self._now = config, storage, now
        self.authorities = [Authority(one, config.email, storage) for one in config.authorities()]
        self._rests: dict[str, datetime] = {}
        """Until when authorities are left alone whose rate limit is reached, by directory."""

    async def issue(self, name: str, key: bytes) -> tuple[bytes, str]:
        """The chain as PEM, and the directory of the authority that gave it; raises `NotIssued` and `StorageError`."""
        problems: list[str] = []
        waits: list[timedelta] = []
        for authority in self.authorities:
            directory = authority.config.directory
            rests = schedule.plausible(self._rests.get(directory), self._now(), LEFT_ALONE)
            if rests and rests > self._now():
                problems.append(
                    f"{directory}: left alone until {rests:%H:%M} UTC, as its rate limit is reached"
                )
                waits.append(rests - self._now())
                continue
            try:
                return await asyncio.to_thread(self._order, authority, name, key), directory
            except (AuthorityError, DnsError) as error:
                problems.append(f"{directory}: {error}")
                waits.append(getattr(error, "wait", None) or timedelta(0))
                if getattr(error, "is_rate_limit", False):
                    self._rests[directory] = self._now() + LEFT_ALONE
        raise NotIssued(problems, min(waits, default=None))

    def _order(self, authority: Authority, name: str, key: bytes) -> bytes:
        records: DnsRecords | None = records_of(self._config.dns) if self._config.dns else None
        challenges = self._config.challenges if not name.startswith("*.") else ("dns-01",)
        return order(authority, name, key, challenges, self._storage, records)
