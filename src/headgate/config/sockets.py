"""The permissions of Unix sockets."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema

from .errors import ConfigError
from .settings import IN_FILE

OWNER = 0o600
MOST = 0o777
READ_ONLY = (400, 440, 444, 500)
"""Numbers that are meant as octal digits in a file, though as numbers they are modes, too: 400 is 0o620."""


def parse_mode(value: Any, *, is_in_file: bool = False) -> int:
    """Permissions from `"0660"`, `0o660` or the digits `660`, which are octal, too; the owner must read and write."""
    mode = -1
    if isinstance(value, int) and not isinstance(value, bool):
        if value > MOST or (is_in_file and value in READ_ONLY):
            value = str(value)
        else:
            mode = value
    if isinstance(value, str) and re.fullmatch(r"(0o)?[0-7]{3,4}", value):
        mode = int(value.removeprefix("0o"), 8)
    if not 0 <= mode <= MOST or mode & OWNER != OWNER:
        raise ConfigError(
            f"`{value}` is not a valid mode of a socket",
            hint='write it in octal, and let the owner read and write: `"0660"`',
        )
    return mode


def _validated(value: Any, info: ValidationInfo) -> int:
    return parse_mode(value, is_in_file=info.context == IN_FILE)


SocketMode = Annotated[
    int,
    BeforeValidator(_validated),
    PlainSerializer(lambda mode: f"{mode:04o}"),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["0660"]}),
]
"""Permissions of a Unix socket's file."""
