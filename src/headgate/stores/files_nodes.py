"""The nodes of a folder of files: each holds a lock on a file of its own for as long as its process lives."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote

from headgate.config.atomic_files import replace_file
from headgate.stores.base import Document, RegisteredNode
from headgate.stores.documents import decoded, encoded


def announce(folder: Path, node: str, facts: Document) -> Callable[[], None]:
    """Registers a node until the returned function is called."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{quote(node, safe='')}.json"
    replace_file(path, encoded(facts).encode(), is_durable=False)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return lambda: os.close(descriptor)


def registered(folder: Path) -> list[RegisteredNode]:
    """The nodes whose processes hold their locks; removes the files of others."""
    found = []
    for path in sorted(folder.glob("*.json")):
        if _is_held(path):
            found.append(RegisteredNode(unquote(path.stem), decoded(path.read_bytes(), str(path))))
        else:
            path.unlink(missing_ok=True)
    return found


def _is_held(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
