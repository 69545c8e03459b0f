"""What goes between a worker and its job processes: frames of a length and a pickle.

A function of the user's file is named by a module that no import finds. The job process loads the file under that name
as soon as the first pickle asks for it.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any

LENGTH = struct.Struct("!Q")


class Unsendable(TypeError):
    """A function, an argument or a result that cannot go to another process."""


def packed(thing: object, what: str) -> bytes:
    """A frame; `Unsendable` says what of it cannot be sent."""
    try:
        data = pickle.dumps(thing, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        hint = "hint: a function at the top level of a module, and arguments that pickle can copy"
        raise Unsendable(f"{what} cannot go to another process: {error}; {hint}") from error
    return LENGTH.pack(len(data)) + data


def unpacked(data: bytes | bytearray, load_users_file: Callable[[str], None] | None = None) -> Any:
    """The thing in a frame; `load_users_file(module)` is called before anything of such a module is looked up."""
    return _Unpickler(io.BytesIO(data), load_users_file).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, load_users_file: Callable[[str], None] | None) -> None:
        super().__init__(file)
        self._load_users_file = load_users_file

    def find_class(self, module: str, name: str) -> Any:
        if self._load_users_file:
            self._load_users_file(module)
        return super().find_class(module, name)
