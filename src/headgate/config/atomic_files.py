"""Files that others see whole: the old content or the new one; and what it takes for them to be on the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path


def replace_file(path: Path, content: bytes, *, is_durable: bool, mode: int = 0o600) -> None:
    """Writes a file so that others see the old or the new content whole; keeps the mode of one that is there.

    `is_durable`: content and name are on the disk when this returns. Raises `OSError`, and leaves nothing half written.
    """
    name = write_beside(path, content, is_durable=is_durable, mode=mode)
    try:
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    if is_durable:
        sync_folder(path.parent)


def write_beside(path: Path, content: bytes, *, is_durable: bool = False, mode: int = 0o600) -> Path:
    """Writes a hidden file that is to be renamed to `path`; with the mode of one that is there.

    `is_durable`: the content is on the disk when this returns. Raises `OSError`, and leaves nothing then.
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
    except BaseException:
        os.unlink(name)
        raise
    return name


def write_new_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Writes a file that nobody reads before this returns; then content and name are on the disk.

    Costs one wait for the disk, where `replace_file` costs two. After a power cut it may be there in part. Raises
    `OSError`, and leaves nothing half written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)  # the journal of most file systems has it already
    except BaseException:
        os.unlink(path)
        raise


def name_file(beside: Path, path: Path) -> None:
    """Gives a file that is on the disk its name, which is there as well when this returns.

    Raises `OSError`, and leaves no such name then.
    """
    os.replace(beside, path)
    try:
        sync_folder(path.parent)
    except BaseException:
        os.unlink(path)
        raise


def sync_file(path: Path) -> None:
    """Has the disk hold a file that was written, and its name; one that is gone is left alone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        pass
    else:
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    if path.parent.is_dir():
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Has the disk hold which names are in a folder: a file's own `fsync` does not say that (fsync(2)).

    A folder that may not be read, or whose file system has no such call, is left to the system.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def make_folders(folder: Path, *, mode: int = 0o777) -> None:
    """Makes a folder (with `mode`) and those missing above it; all are on the disk when this returns."""
    missing = []
    above = folder
    while not above.exists():
        missing.append(above)
        above = above.parent
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    for one in reversed(missing):
        sync_folder(one.parent)
