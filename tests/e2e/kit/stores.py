"""The places that configuration is kept in, each with a real server behind a proxy that can be cut."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from headgate.stores import Store, Timing, open_store

from .cuttable import CuttableProxy

QUICK = Timing(spread_s=0.05, longest_s=0.2, poll_s=0.5, keepalive_s=0.3, response_s=2)


class Place:
    """Somewhere that stores are opened; `url` goes through the proxy, where there is one."""

    def __init__(self, url: str, proxy: CuttableProxy | None = None) -> None:
        self.url = url
        self.direct_url = url
        self.proxy = proxy

    def open(self, *, is_direct: bool = False, timing: Timing = QUICK) -> Store:
        """Another store on the same place, as another node would open it."""
        return open_store(self.direct_url if is_direct else self.url, timing=timing)

    def kill(self) -> None:
        """Kills the server with SIGKILL."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts the server again on the same port, with the same data."""
        raise NotImplementedError


@contextlib.contextmanager
def sqlite(folder: Path) -> Iterator[Place]:
    """A file."""
    yield Place(f"sqlite://{folder / 'config.db'}")


@contextlib.contextmanager
def files(folder: Path) -> Iterator[Place]:
    """A folder."""
    (folder / "conf.d").mkdir()
    yield Place(f"files:{folder / 'conf.d'}")


PLACES = {"sqlite": sqlite, "files": files}
