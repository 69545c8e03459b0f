"""Runs a gateway's file as one module, under its own name.

How it works: `gate.py` is the module `gate` from before its first line, as if it had been imported, so that modules
beside it may say `from gate import gate` and get the one object. A second load of the same file under another name
(`app.gate`) would make a second gateway, whose hooks no request meets: it is refused. What a former load in this
process has left, as in tests, is forgotten first, with the modules that took its gateway.
"""

from __future__ import annotations

import importlib
import itertools
import linecache
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from headgate.config.documents import read_text
from headgate.config.errors import ConfigError, Problem, Where

from .explaining import problem, users_line
from .fresh_imports import LOADED, MADE_UP, SecondLoad


class Interrupted(KeyboardInterrupt):
    """The load was interrupted, by Ctrl-C or by the file itself; its text says where."""

    def __init__(self, where: Where) -> None:
        super().__init__(f"{where}: interrupted (KeyboardInterrupt) while the file is loaded")


_numbers = itertools.count(1)
_MARK = "__headgate_file__"


def run_file(file: Path) -> ModuleType:
    """The module that the file makes; raises `ConfigError` for whatever ends it early, an exit included."""
    _forget(file)
    module = ModuleType(_name(file))
    module.__file__, module.__package__ = str(file), ""
    setattr(module, _MARK, str(file))
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    LOADED[file.resolve()] = module
    linecache.checkcache(str(file))
    try:
        exec(compile(read_text(file), str(file), "exec"), module.__dict__)
        _refuse_second_load(module, file)
    except BaseException as error:
        _undo(module, file, before)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(users_line(error) or Where(str(file))) from error
        if isinstance(error, ConfigError):
            raise error.at(users_line(error)) from error.__cause__
        raise ConfigError([problem(error, file)]) from error
    return module


def load_as(file: str, text: str, module: str) -> None:
    """Runs a gateway's file once more, in another process, as the module that its functions are named by."""
    made = ModuleType(module)
    made.__file__ = file
    sys.modules[module] = made
    exec(compile(text, file, "exec"), made.__dict__)


def _name(file: Path) -> str:
    known = sys.modules.get(file.stem)
    if file.stem.isidentifier() and (known is None or _is_ours(known)):
        return file.stem
    return f"{MADE_UP}{file.stem}_{next(_numbers)}".replace("-", "_")


def _is_ours(module: ModuleType) -> bool:
    return hasattr(module, _MARK)


def _forget(file: Path) -> None:
    """Drops what a former load of this file, or of another of its name, has left in memory."""
    for name, known in list(sys.modules.items()):
        if _is_ours(known) and Path(getattr(known, _MARK)).stem == file.stem:
            taken = {id(known), *(id(value) for value in vars(known).values() if _is_gateway(value))}
            for other, module in list(sys.modules.items()):
                if module is not known and _took(module, taken) and _is_beside(module, known):
                    del sys.modules[other]
            del sys.modules[name]
            LOADED.pop(Path(getattr(known, _MARK)).resolve(), None)
    importlib.invalidate_caches()


def _took(module: ModuleType, taken: set[int]) -> bool:
    return any(id(value) in taken for value in list(vars(module).values()))


def _is_beside(module: ModuleType, known: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and Path(file).is_relative_to(Path(getattr(known, _MARK)).parent)


def _is_gateway(value: Any) -> bool:
    from headgate.gateway import Gateway

    return isinstance(value, Gateway)


def _refuse_second_load(module: ModuleType, file: Path) -> None:
    """Refuses what an importer of Python's own has loaded a second time, such as `app.gate` from the folder above."""
    for name, other in list(sys.modules.items()):
        path = getattr(other, "__file__", None)
        is_same = (
            isinstance(path, str) and path.endswith(file.name) and Path(path).resolve() == file.resolve()
        )
        if other is not module and is_same and name != "__main__":
            raise SecondLoad(file, module.__name__, name)


def _undo(module: ModuleType, file: Path, before: ModuleType | None) -> None:
    LOADED.pop(file.resolve(), None)
    if sys.modules.get(module.__name__) is module:
        del sys.modules[module.__name__]
    if before is not None and not _is_ours(before):
        sys.modules[module.__name__] = before


def refuse_shadows(file: Path) -> None:
    """Refuses modules beside the file that hide a library which the gateway itself, or Python, has need of."""
    for beside in sorted(file.parent.glob("*.py")):
        known = getattr(sys.modules.get(beside.stem), "__file__", None)
        is_library = beside.stem in NEEDED or (
            beside.stem in sys.stdlib_module_names and (known is not None or beside == file)
        )
        if is_library:
            raise ConfigError(
                [
                    Problem(
                        f"`{beside.name}` shadows the library `{beside.stem}`",
                        f"rename `{beside.name}`",
                        Where(str(beside)),
                    )
                ]
            )


NEEDED = frozenset(
    (
        *("annotated_types", "asyncpg", "click", "headgate", "pydantic", "pydantic_core", "redis"),
        *("rich", "typer", "typing_extensions", "wsproto", "yaml"),
    )
)
"""Libraries that the gateway itself loads, some of them late."""
