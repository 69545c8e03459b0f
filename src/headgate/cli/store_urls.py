"""URLs of stores that `run` would end at: told by `headgate check`."""

from __future__ import annotations

from collections.abc import Iterator

from headgate.config.errors import Path, Problem
from headgate.config.model import GatewayConfig
from headgate.config.secrets import Secret
from headgate.gateway import Gateway


def unusable_stores(gateway: Gateway, config: GatewayConfig) -> Iterator[Problem]:
    """Stores of no known kind, with a URL that is not whole, or whose library is not installed. Connects to none."""
    stores: list[tuple[Path, Secret | None]] = [
        (("store",), config.store),
        (("acme", "store"), config.acme.store if config.acme else None),
    ]
    for path, url in stores:
        if url is None:
            continue
        from headgate.stores import open_store  # which most files that are checked have no use for

        try:
            open_store(url.get_secret_value())
        except (ValueError, ImportError) as error:
            told, _, hint = str(error).partition("\n  hint: ")
            yield Problem(told, hint or None, gateway._parts.locate(path), path)
