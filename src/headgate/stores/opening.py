"""Chooses the store that a URL names."""

from importlib import import_module

from headgate.stores.base import Store, Timing

# scheme: module and class, imported when used, since each needs a library of its own
SCHEMES: dict[str, tuple[str, str]] = {
    "files": ("files", "FilesStore"),
    "etcd": ("etcd", "EtcdStore"),
    "postgresql": ("postgres", "PostgresStore"),
    "postgres": ("postgres", "PostgresStore"),
    "redis": ("redis", "RedisStore"),
    "rediss": ("redis", "RedisStore"),
    "sqlite": ("sqlite", "SqliteStore"),
}


def open_store(url: str, *, timing: Timing | None = None) -> Store:
    """The store of a URL; connects when it is first asked.

    `files:/dir`, `sqlite:///path`, `postgresql://user@host/database`, `etcd://host:2379/prefix`,
    `redis://host:6379/0`. Raises `ValueError` for a URL of none of these, `ImportError` with a hint where the
    library of its kind is not installed.
    """
    scheme = url.partition(":")[0].lower()
    found = SCHEMES.get(scheme)
    if found is None:
        raise ValueError(f"`{scheme}` is not a valid store\n  hint: one of {', '.join(SCHEMES)}")
    made: Store = getattr(import_module(f"headgate.stores.{found[0]}"), found[1]).of_url(
        url, timing or Timing()
    )
    return made
