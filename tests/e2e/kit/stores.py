"""The places that configuration is kept in, each with a real server behind a proxy that can be cut."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headgate.stores import Store, Timing, open_store

from .cuttable import CuttableProxy
from .services import EtcdServer, PostgresServer, RedisServer

QUICK = Timing(spread_s=0.05, longest_s=0.2, poll_s=0.5, keepalive_s=0.3, response_s=5)


class Place:
    """Somewhere that stores are opened; `url` goes through the proxy, where there is one."""

    def __init__(
        self, url: str, direct_url: str = "", proxy: CuttableProxy | None = None, server: Any = None
    ) -> None:
        self.url = url
        self.direct_url = direct_url or url
        self._proxy = proxy
        self.server = server

    @property
    def proxy(self) -> CuttableProxy:
        """The proxy in front of the server."""
        assert self._proxy is not None
        return self._proxy

    def open(self, *, is_direct: bool = False, timing: Timing = QUICK) -> Store:
        """Another store on the same place, as another node would open it."""
        return open_store(self.direct_url if is_direct else self.url, timing=timing)


class StoreServers:
    """The servers that were needed so far, one of each kind; each test gets an empty place on them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._servers: dict[str, Any] = {}
        self._places = 0

    def __enter__(self) -> "StoreServers":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def place(self, kind: str, folder: Path) -> Any:
        """An empty place."""
        self._places += 1
        if kind not in self._servers and kind in _SERVERS:
            made = self._folder / kind
            made.mkdir()
            self._servers[kind] = self._stack.enter_context(_SERVERS[kind](made))
        with contextlib.ExitStack() as stack:
            yield _PLACES[kind](folder, self._servers.get(kind), self._places, stack)


def _sqlite(folder: Path, *_: Any) -> Place:
    return Place(f"sqlite://{folder / 'config.db'}")


def _files(folder: Path, *_: Any) -> Place:
    (folder / "conf.d").mkdir()
    return Place(f"files:{folder / 'conf.d'}")


def _postgres(folder: Path, server: PostgresServer, number: int, stack: contextlib.ExitStack) -> Place:
    proxy = stack.enter_context(CuttableProxy(("127.0.0.1", server.port)))
    name = server.new_database(number)
    return Place(
        f"postgresql://gate@127.0.0.1:{proxy.port}/{name}",
        f"postgresql://gate@127.0.0.1:{server.port}/{name}",
        proxy,
        server,
    )


def _redis(folder: Path, server: RedisServer, number: int, stack: contextlib.ExitStack) -> Place:
    proxy = stack.enter_context(CuttableProxy(("127.0.0.1", server.port)))
    url, direct = (f"redis://127.0.0.1:{port}/0?name=test{number}" for port in (proxy.port, server.port))
    return Place(url, direct, proxy, server)


def _etcd(folder: Path, server: EtcdServer, number: int, stack: contextlib.ExitStack) -> Place:
    proxy = stack.enter_context(CuttableProxy(("127.0.0.1", server.port)))
    url, direct = (f"etcd://127.0.0.1:{port}/test{number}" for port in (proxy.port, server.port))
    return Place(url, direct, proxy, server)


_SERVERS: dict[str, Callable[[Path], Any]] = {
    "postgres": PostgresServer,
    "redis": RedisServer,
    "etcd": EtcdServer,
}
_PLACES: dict[str, Callable[..., Place]] = {
    "sqlite": _sqlite,
    "files": _files,
    "postgres": _postgres,
    "redis": _redis,
    "etcd": _etcd,
}
KINDS = list(_PLACES)
NETWORKED = [kind for kind in KINDS if kind in _SERVERS]
