"""The hook that takes out of every request what only the gateway may say of its client."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headgate._core import Request


class IdentityFields:
    """Removes header fields whose names, in any case and with `_` for `-`, are among those given."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def __call__(self, request: Request) -> None:
        """Runs before every other hook."""
        headers = request.headers
        for name in {one for one in headers if one.replace("_", "-") in self._names}:
            del headers[name]
