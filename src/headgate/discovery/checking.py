"""Looks a name up once, for whoever checks a configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import dns.exception

from headgate.config.resolver import ResolverConfig

from .outcomes import Failed, Nothing
from .resolving import Lookups
from .schedule import reason_of


def lookup_by(config: ResolverConfig) -> Callable[[str], None]:
    """What looks up a host, or a service as `srv:NAME`; it raises `OSError` for what is not to be found."""
    lookups = Lookups(config)

    def look_up(name: str) -> None:
        is_service = name.startswith("srv:")
        looked_up = lookups.targets(name.removeprefix("srv:")) if is_service else lookups.addresses(name)
        try:
            outcome = asyncio.run(looked_up)
        except dns.exception.DNSException as error:
            raise OSError(f"{type(error).__name__}: {error}") from error
        if isinstance(outcome, Nothing | Failed):
            raise OSError(reason_of(outcome))

    return look_up
