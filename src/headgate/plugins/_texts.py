"""Texts in settings that may lie in files, and secrets that things are signed with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from headgate import ConfigError

SHORTEST_SECRET = 16


def text_of(text: str) -> str:
    """The text itself, or that of the file it names as `file:NAME`; raises `ConfigError`."""
    if not text.startswith("file:"):
        return text
    try:
        return Path(text.removeprefix("file:")).read_text()
    except (OSError, ValueError) as error:
        raise ConfigError(f"`{text}` cannot be read: {error}", hint="name a file") from None


def _long_enough(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < SHORTEST_SECRET:
        raise ConfigError("the secret is too short", hint="create one with `openssl rand -hex 32`")
    return secret


SigningSecret = Annotated[SecretStr, AfterValidator(_long_enough)]
"""A secret of at least 16 characters."""
