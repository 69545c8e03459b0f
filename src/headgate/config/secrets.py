"""Secrets: values that no log, error, status or diff shows, given in place or by reference.

How it works: `env:NAME` reads a variable, `file:/path` a file without its last line end; a function of the user's may
read other references (`resolvers`). A secret is known by its type, so
that it is masked wherever the model is shown, whatever its key is called.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, SecretStr, WithJsonSchema

from .errors import ConfigError, nearest
from .resolvers import fetched, is_resolved

MASK = "**********"
"""What is shown in place of a secret. As a value it is refused: it would take the secret's place."""

LONGEST_SECRET_BYTES = 64 * 1024


class FileRead(NamedTuple):
    """A file that a secret was read from, as it was then."""

    path: str
    modified_ns: int
    inode: int
    bytes: int


_FILES: dict[str, FileRead] = {}


def files_read() -> list[FileRead]:
    """The files that this process has read secrets from."""
    return list(_FILES.values())


def is_reference(text: str) -> bool:
    """Whether a secret says where it is, which may be shown."""
    return text.startswith(("env:", "file:")) or is_resolved(text)


def resolved(text: str) -> str:
    """The secret that `text` is or refers to; raises `ConfigError` for a reference that leads to nothing."""
    scheme, _, rest = text.partition(":")
    if scheme == "env":
        if not os.environ.get(rest):
            near = nearest(rest, os.environ)
            raise ConfigError(
                f"the environment variable `{rest}` is not set"
                if rest not in os.environ
                else f"the environment variable `{rest}` is empty",
                hint=f"did you mean `{near}`?" if near and near != rest else None,
            )
        return os.environ[rest]
    if scheme == "file":
        return _of_file(Path(rest))
    return fetched(text) if is_resolved(text) else text


def _of_file(path: Path) -> str:
    if not path.is_absolute():
        raise ConfigError(f"the secret file `{path}` is a relative path", hint="write `file:/full/path`")
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(LONGEST_SECRET_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise ConfigError(f"the secret file `{path}` cannot be read: {reason}") from None
    if len(data) > LONGEST_SECRET_BYTES:
        raise ConfigError(f"the secret file `{path}` has more than {LONGEST_SECRET_BYTES} bytes")
    try:
        text = data.decode().strip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"the secret file `{path}` is not UTF-8") from None
    if not text:
        raise ConfigError(f"the secret file `{path}` is empty")
    _FILES[str(path)] = FileRead(str(path), found.st_mtime_ns, found.st_ino, found.st_size)
    return text


def _read(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value
    if not isinstance(value, str):
        raise ConfigError("a secret is a text", hint="put it in quotes, or write `env:NAME` or `file:/path`")
    if value == MASK:
        raise ConfigError(
            "a masked secret is not a secret", hint="leave the key out, or write the secret itself"
        )
    if not value:
        raise ConfigError("a secret is empty", hint="write `env:NAME` or `file:/path`")
    return resolved(value)


Secret = Annotated[
    SecretStr,
    BeforeValidator(_read),
    WithJsonSchema(
        {"type": "string", "minLength": 1, "format": "password", "examples": ["env:NAME", "file:/path"]}
    ),
]
"""A secret in a model: the text itself, `env:NAME` or `file:/path`."""
