"""The hooks of listeners whose certificates are ordered on demand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from headgate._core import Certificate
from headgate._decorators import RegisteredHook
from headgate._on_demand import OnDemand, refuse_without_question
from headgate.config.acme_on_demand import OnDemandConfig
from headgate.config.listeners import ListenerConfig
from headgate.config.model import GatewayConfig, is_orderable
from headgate.config.snapshot_tls import acme_folder
from headgate.config.tls import TlsConfig

if TYPE_CHECKING:
    from headgate._parts import Parts
    from headgate.listener import Listener, StreamListener

LONGEST_NAME = 200
"""As the agent's storage has it."""


def on_demand_hooks(
    listener: Listener | StreamListener, config: GatewayConfig, parts: Parts
) -> list[RegisteredHook]:
    """The hook of a listener with `tls: auto`, where `acme.on_demand` or `@gate.acme_ask` is set."""
    on_demand = config.acme.on_demand if config.acme else None
    refuse_without_question(on_demand, parts.acme_ask)
    if on_demand is None and parts.acme_ask is not None:
        on_demand = OnDemandConfig()
    said = listener.config
    if on_demand is None or not isinstance(said, ListenerConfig) or said.tls is None or not said.tls.acme:
        return []
    served = Served(said.tls, tuple(config.acme_names()), parts.folder)
    hook = OnDemand(on_demand, parts.acme_ask, acme_folder(config, parts.folder), served)
    # beyond its own limit, so that it ends by itself
    deadline = on_demand.wait + 2
    name = "certificates on demand"
    return [RegisteredHook("client_hello", hook.client_hello, deadline, "closed", name, "")]


class Served:
    """Which names have certificates in other ways: configured, local, of routes; and which could have none."""

    def __init__(self, tls: TlsConfig, names: tuple[str, ...], folder: Path) -> None:
        self._tls, self._names, self._folder = tls, names, folder
        self._known: frozenset[str] = frozenset()
        self._stamps: list[int | None] | None = None

    def __call__(self, name: str) -> bool:
        stamps = [_stamp(self._folder / one.certificate) for one in self._tls.certificates]
        if stamps != self._stamps:
            self._stamps, self._known = stamps, frozenset(self._all())
        _, _, parent = name.partition(".")
        is_known = name in self._known or f"*.{parent}" in self._known
        # what its files could not be called is not ordered
        return is_known or len(name) > LONGEST_NAME or not is_orderable(name, wildcards=False)

    def _all(self) -> Iterator[str]:
        yield from self._names
        yield from self._tls.local
        for one in self._tls.certificates:
            yield from one.names
            path = self._folder / one.certificate
            if one.names:
                continue
            files = sorted((*path.iterdir(), *path.glob("*/fullchain.pem"))) if path.is_dir() else [path]
            for file in files:
                # what cannot be read is told by those who read it in order to serve it
                with suppress(OSError, ValueError):
                    yield from Certificate(file.read_bytes(), _key(file, self._folder, one.key)).names


def _key(file: Path, folder: Path, said: str | None) -> bytes | None:
    """The key of a certificate's file, where it is another file."""
    if said is not None:
        return (folder / said).read_bytes()
    candidates = (file.with_suffix(".key"), file.with_name("privkey.pem"))
    return next((one.read_bytes() for one in candidates if one.is_file()), None)


def _stamp(path: Path) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None
