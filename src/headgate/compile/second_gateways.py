"""Refuses hooks of a gateway that is not the one served: they would never run, and some of them check something."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headgate._parts import made_parts
from headgate.config.errors import ConfigError

if TYPE_CHECKING:
    from headgate._parts import Parts
    from headgate.gateway import Gateway
    from headgate.listener import Listener, StreamListener
    from headgate.route import Route


@contextmanager
def gateways_made() -> Iterator[list[Parts]]:
    """The parts of every gateway that is made meanwhile, by whatever module."""
    made: list[Parts] = []
    token = made_parts.set(made)
    try:
        yield made
    finally:
        made_parts.reset(token)


def refuse_hooks_of_others(made: list[Parts], served: Gateway, file: Path) -> None:
    """Raises `ConfigError` for the first gateway with hooks or plugins that is not `served`."""
    for parts in made:
        what = None if parts is served._parts else _first_hook(parts)
        if what is None:
            continue
        place = parts.made_at
        if place is not None and os.path.isfile(place.file) and os.path.samefile(place.file, file):
            hint = f"make one gateway in `{file.name}`, and let other modules `import {file.stem}`"
        else:
            hint = f"write `from {file.stem} import gate`" if file.suffix == ".py" else "name it in `hooks`"
        raise ConfigError(
            f"{what} would never run: it is of a second gateway, and `{file.name}` serves another one",
            hint=hint,
            where=place,
        )


def _first_hook(parts: Parts) -> str | None:
    every: list[Route | Listener | StreamListener] = [*parts.routes, *parts.listeners, *parts.tcp, *parts.udp]
    hook = next((hook for hooks in (parts.hooks, *(one._hooks for one in every)) for hook in hooks), None)
    if hook is not None:
        return f"the `{hook.phase}` hook `{hook.name}`"
    return f"the plugin `{type(parts.plugins[0].plugin).__name__}`" if parts.plugins else None
