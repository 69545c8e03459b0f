"""Finds the line of the user's file that called into this package."""

from __future__ import annotations

import os
import sys

from .config.errors import Where

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_MARK_PYDANTIC = f"{os.sep}pydantic{os.sep}"


def caller() -> Where | None:
    """The innermost line on the stack that is the user's."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if is_users(file):
            return Where(file, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def is_users(file: str) -> bool:
    """Whether a file is neither this package's, nor pydantic's, nor made up by Python."""
    return not (file.startswith((_PACKAGE, "<")) or _MARK_PYDANTIC in file)
