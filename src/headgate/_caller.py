"""Finds the line of the user's file that called into this package."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from .config.errors import Where

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_MARK_PYDANTIC = f"{os.sep}pydantic{os.sep}"

Place = Where | Callable[[], Where | None] | None
"""A line, or what finds it: the lines of a document are looked for only when something is wrong."""


def found_line(place: Place) -> Where | None:
    """The line, looked for if it is not known yet."""
    return place() if callable(place) else place


class Placed:
    """What a line of the user's made."""

    place: Place

    @property
    def where(self) -> Where | None:
        """The source line that created it, if known."""
        return found_line(self.place)


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
