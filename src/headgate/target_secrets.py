"""Secrets of targets and URLs that nothing that is written may show, as plugins know them."""

from __future__ import annotations

from collections.abc import Iterable

from headgate._core import TargetMask


class TargetSecrets:
    """Those of the configuration in force: names of parameters, and paths of which segments are secrets."""

    def __init__(self) -> None:
        self.replace((), ())

    def replace(self, names: Iterable[str], paths: Iterable[str]) -> None:
        """Takes others in the place of all."""
        self.names, self.paths = tuple(names), tuple(paths)
        self._mask = TargetMask(self.names, self.paths, looks=bool(self.paths))

    def masked(self, target: str) -> str:
        """A target or a URL without its secrets."""
        return self._mask.url(target)
