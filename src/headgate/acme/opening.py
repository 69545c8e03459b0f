"""Chooses where accounts and certificates are kept."""

from pathlib import Path

from headgate.config.acme import AcmeConfig
from headgate.stores import Timing, open_store

from .sealing import Seal
from .sharing import SharedStorage
from .storage import Storage

TIMING = Timing(spread_s=1, longest_s=10, poll_s=5)
"""Challenges are waited for: nodes look sooner than for their configuration."""


def storage_of(config: AcmeConfig, folder: Path) -> Storage:
    """The folder, shared by a store where one is set; raises as `open_store` does."""
    if config.store is None:
        return Storage(folder)
    seal = Seal([key.get_secret_value() for key in config.store_keys])
    return SharedStorage(folder, open_store(config.store.get_secret_value(), timing=TIMING), seal)
