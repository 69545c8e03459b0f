"""How a document is written to a file, by the file's ending; and which files are not written."""

import contextlib
import errno
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from headgate.config.atomic_files import make_folders, replace_file, write_beside
from headgate.config.documents import read_document
from headgate.config.errors import ConfigError
from headgate.stores.base import Document, Edit, Key
from headgate.stores.errors import StoreReadOnly
from headgate.stores.files_tree import FilePlace
from headgate.stores.planning import Step

MOST_FILE_NAME_BYTES = 255
NEVER_WRITABLE = frozenset(
    {
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG),
        *(errno.EACCES, errno.EPERM, errno.EROFS),
    }
)
"""Errors that say that something is in the way, which waiting does not mend; others are those of a disk that is full
or broken."""


def checked_place(place: FilePlace | None, new: Path, key: Key) -> None:
    """Raises `StoreReadOnly` where a resource stands in a file that is not ours to write."""
    if place is None:
        if len(new.name.encode()) > MOST_FILE_NAME_BYTES:
            raise StoreReadOnly(f"`{key}` is too long for a file name\n  hint: a shorter name")
    elif not place.is_alone:
        raise StoreReadOnly(f"`{key}` is in `{place.path}` with others\n  hint: change that file by hand")
    elif place.path.suffix == ".toml":
        raise StoreReadOnly(f"`{place.path}` cannot be written\n  hint: YAML or JSON, or change it by hand")


def content(path: Path, document: Document) -> bytes:
    """The text of a file: JSON, or YAML where the file exists and JSON is not its format."""
    as_json = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if path.suffix == ".json":
        return as_json.encode()
    import yaml

    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    return (text if _says(text, document) else as_json).encode()


def not_writable(path: Path, error: OSError) -> StoreReadOnly:
    """A file cannot be written as the folder is: something else is in its place, or it may not be."""
    why = error.strerror or str(error)
    return StoreReadOnly(
        f"`{path}` cannot be written: {why}\n  hint: see what is there: another folder, a dead link, a mode"
    )


def bytes_of(path: Path) -> bytes | None:
    """What a file holds; None for one that is not there. Raises `OSError`."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def write_bytes(path: Path, data: bytes | None) -> None:
    """Has a file hold this, or be gone; a link stays one. Not yet on the disk. Raises `OSError`."""
    if data is None:
        path.unlink(missing_ok=True)
        return
    if not path.parent.is_dir():
        make_folders(path.parent)
    replace_file(path.resolve() if path.is_symlink() else path, data, is_durable=False)


def is_unwritten(path: Path, edit: Edit) -> bool:
    """Whether a file is as it was before an edit, or holds nothing that can be read.

    The power may have gone while it was written. A file with another content was written, and maybe changed since.
    """
    try:
        found = read_document(path).values if path.stat().st_size else None
    except FileNotFoundError:
        return edit.after is not None
    except (ConfigError, OSError):
        return True
    return found is None or found == edit.before


def _says(text: str, document: Document) -> bool:
    """Whether YAML 1.2 reads the document in what was written as YAML 1.1; JSON is YAML too."""
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        return read_document(Path(file.name)).values == document


class Replacement(NamedTuple):
    """A new file beside the one that it is to replace."""

    beside: Path
    path: Path
    step: Step


def replacements(steps: Iterable[tuple[Path, Step]]) -> list[Replacement] | None:
    """Steps of which only a renaming is left, which no full disk and nothing in the way can forbid.

    None where more than that is to be done.
    """
    found: list[Replacement] = []
    try:
        for path, step in steps:
            if step.edit.after is None or path.is_symlink() or not path.is_file():
                given_up(found)
                return None
            found.append(Replacement(write_beside(path, content(path, step.edit.after)), path, step))
    except OSError:
        given_up(found)
        return None
    return found


def given_up(replacements: Iterable[Replacement]) -> None:
    """Removes the new files. Raises nothing."""
    for one in replacements:
        with contextlib.suppress(OSError):
            one.beside.unlink()
