"""The permissions of Unix sockets."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from .errors import ConfigError

OWNER = 0o600
MOST = 0o777


def parse_mode(value: Any) -> int:
    """Permissions from `"0660"`, `0o660`, or `0660` as YAML reads it: the number 660. The owner must read and write."""
    mode = -1
    if isinstance(value, str) and re.fullmatch(r"(0o)?[0-7]{3,4}", value):
        mode = int(value.removeprefix("0o"), 8)
    elif isinstance(value, int) and not isinstance(value, bool):
        digits = str(value)
        mode = int(digits, 8) if value > MOST and re.fullmatch("[0-7]{3}", digits) else value
    if not 0 <= mode <= MOST or mode & OWNER != OWNER:
        raise ConfigError(f"`{value}` is not a valid mode of a socket", hint='write it in octal: `"0660"`')
    return mode


SocketMode = Annotated[
    int,
    BeforeValidator(parse_mode),
    PlainSerializer(lambda mode: f"{mode:04o}"),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["0660"]}),
]
"""Permissions of a Unix socket's file."""
