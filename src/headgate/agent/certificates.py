"""Orders the certificates of listeners with `tls: auto`, for the hosts of the routes that are in force."""

from __future__ import annotations

import logging
from pathlib import Path

from headgate.config.acme import AcmeConfig

from .following import Follower

log = logging.getLogger("headgate.acme")


async def order_certificates(follower: Follower, folder: str | None) -> None:
    """Keeps certificates in force until it is cancelled; without a folder there is nothing to do."""
    if folder is None:
        return
    # which is slow to import, and not needed by other gateways
    from headgate.acme import CertificateManager, storage_of

    def names() -> list[str]:
        return follower.in_force.merged.gateway.config.acme_names()

    config = follower.in_force.merged.gateway.config.acme or AcmeConfig()
    try:
        storage = storage_of(config, Path(folder))
    except (ValueError, ImportError) as error:
        log.error("certificates are not ordered: `acme.store`: %s", error)
        return
    manager = CertificateManager(config, storage, names)
    follower.on_applied.append(manager.wake)
    await manager.run()
