"""Files that others see whole: the old content or the new one."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def replace_file(path: Path, content: bytes, *, is_durable: bool, mode: int = 0o600) -> None:
    """Writes a file so that others see the old or the new content whole; keeps the mode of one that is there.

    `is_durable`: it is on the disk when this returns. Raises `OSError`, and leaves nothing half written.
    """
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode & 0o7777
    name = path.parent / f".{secrets.token_hex(8)}.tmp"
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
