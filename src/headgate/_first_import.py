"""Has the engine's module loaded by a thread that never ends, where the one that imports it first is not the main one.

How it works: the module's allocator takes the thread that loads it for the main thread, and cannot do without it: once
that has ended, a later thread that gets its place in memory crashes. So a finder looks at who imports the module
first. If that is not the main thread, another one loads the library before, and stays; the import finds it loaded.
"""

from __future__ import annotations

import sys
from typing import Any

MODULE = "headgate._core"


class FirstImport:
    """A finder that finds nothing, and is asked once."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> None:
        """Loads the library if need be."""
        if name != MODULE:
            return
        if cls in sys.meta_path:
            sys.meta_path.remove(cls)
        threading = sys.modules.get("threading")  # without it there is no other thread
        if threading and threading.current_thread() is not threading.main_thread():
            _load_in_a_thread_that_stays(threading, path)


def watch_first_import() -> None:
    """Looks at the first import of the engine's module, unless it has happened."""
    if MODULE not in sys.modules:
        sys.meta_path.insert(0, FirstImport)


def _load_in_a_thread_that_stays(threading: Any, path: Any) -> None:
    import ctypes
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec(MODULE, path)
    if spec is None or spec.origin is None:
        return  # the import says what is missing
    is_loaded = threading.Event()

    def stay() -> None:
        try:
            ctypes.PyDLL(spec.origin)
        except OSError:
            return  # as the import will say
        finally:
            is_loaded.set()
        threading.Event().wait()

    threading.Thread(target=stay, name="headgate allocator", daemon=True).start()
    is_loaded.wait()
