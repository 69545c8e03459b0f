"""Events of folders from the kernel (inotify(7)), as wake-ups in an event loop; without threads and libraries."""

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED, _CREATE, _DELETE = 0x2, 0x4, 0x8, 0xC0, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _ONLYDIR = 0x400, 0x800, 0x0100_0000
_UNKNOWN = 0x4000 | 0x4000_0000 | _DELETE_SELF | _MOVE_SELF | 0x2000
"""An overflow, a folder, the watched folder itself: then anything may have changed."""
_HEAD = struct.Struct("iIII")
_ALL = _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR


PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.2


class FolderEvents:
    """Calls back with the paths of files that changed in some folders, or `None` where that is not known.

    Where the kernel gives no events, it never does: poll too.
    """

    def __init__(self, call: Callable[[set[Path] | None], None]) -> None:
        self._call = call
        self._library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watched: dict[Path, int] = {}
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._paused = self._paused_first = 0.0
        if self._descriptor >= 0:
            self._loop.add_reader(self._descriptor, self._read)

    def watch(self, folders: Iterable[Path]) -> None:
        """Watches these folders and no others from now on."""
        wanted = set(folders)
        for folder in set(self._watched) - wanted:
            self._library.inotify_rm_watch(self._descriptor, self._watched.pop(folder))
        for folder in wanted:
            # adding a folder that is watched already does no harm, and finds one that was replaced
            number = self._library.inotify_add_watch(self._descriptor, os.fsencode(folder), _ALL)
            if number >= 0:
                self._watched[folder] = number

    def pause(self) -> None:
        """Reads no events for a moment, as they would be of what the caller is about to do himself.

        Longer where he does it again meanwhile, but not for ever: others may do something too.
        """
        self._paused = self._loop.time()
        if self._descriptor >= 0 and self._pause is None:
            self._loop.remove_reader(self._descriptor)
            self._paused_first = self._paused
            self._pause = self._loop.call_later(PAUSE_S, self._resume)

    def _resume(self) -> None:
        ends = min(self._paused + PAUSE_S, self._paused_first + LONGEST_PAUSE_S)
        if ends > self._loop.time():
            self._pause = self._loop.call_at(ends, self._resume)
            return
        self._pause = None
        self._loop.add_reader(self._descriptor, self._read)

    def _read(self) -> None:
        names = {number: folder for folder, number in self._watched.items()}
        paths: set[Path] | None = set()
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._descriptor, 65536):
                at = 0
                while at < len(data):
                    number, mask, _, length = _HEAD.unpack_from(data, at)
                    name = data[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0")
                    at += _HEAD.size + length
                    if mask & _UNKNOWN or number not in names or not name:
                        paths = None
                    elif paths is not None:
                        paths.add(names[number] / os.fsdecode(name))
        self._call(paths)

    def close(self) -> None:
        """Ends the events."""
        if self._pause is not None:
            self._pause.cancel()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
