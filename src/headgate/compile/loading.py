"""Makes a file into a gateway: runs `gate.py`, or builds the same from YAML, TOML or JSON."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

from headgate.background.job_process import UsersFile
from headgate.config.documents import read_text
from headgate.config.errors import ConfigError, Where, nearest
from headgate.config.includes import read_with_includes
from headgate.config.overrides import overridden, overrides
from headgate.config.start_limit import ended_in_time
from headgate.gateway import Gateway

from .allocation import without_collecting
from .fresh_imports import import_fresh_from
from .hard_exits import without_hard_exits
from .module import refuse_shadows, run_file
from .second_gateways import gateways_made, refuse_hooks_of_others

_NAMES = ("gate.py", "gate.yaml", "gate.yml", "gate.toml", "gate.json")
"""What the file in a folder is mostly called."""


@ended_in_time()
@without_hard_exits()
@without_collecting()
def load(path: str | os.PathLike[str]) -> Gateway:
    """Loads a gateway from a file, by its suffix; raises `ConfigError` if it is invalid."""
    file = Path(path).absolute()
    if file.is_dir():
        inside = next((name for name in _NAMES if (file / name).is_file()), None)
        hint = f"write `{os.path.join(os.fspath(path), inside)}`" if inside else "name a file in it"
        raise ConfigError(f"`{os.fspath(path)}` is a directory, not a configuration file", hint=hint)
    if not file.is_file():
        raise ConfigError(f"the file `{os.fspath(path)}` does not exist", hint=_similar_file(file))
    refuse_shadows(file)
    _lead_with(file.parent)
    import_fresh_from(file.parent)
    with gateways_made() as made:
        gate = _of_python(file) if file.suffix == ".py" else _of_document(file)
    refuse_hooks_of_others(made, gate, file)
    gate._parts.file = file
    return gate


def _of_python(file: Path) -> Gateway:
    module = run_file(file)
    gate = _gateway_of(module, file)
    _override(gate)
    gate.background.names(UsersFile(str(file), read_text(file), module.__name__))
    return gate


def _of_document(file: Path) -> Gateway:
    from .documents import gateway_of_document

    return gateway_of_document(overridden(read_with_includes(file)), file.parent)


def _override(gate: Gateway) -> None:
    """Gives the environment the last word over the settings of a Python file."""
    for path, (name, value) in overrides().items():
        for part in reversed(path[1:]):
            value = {part: value}
        try:
            gate._set(path[0], value)
        except ConfigError as error:
            place = Where(name)
            raise ConfigError([problem._replace(where=place) for problem in error.problems]) from None


def _lead_with(folder: Path) -> None:
    """Puts the file's folder first on `sys.path`, as `python gate.py` would."""
    text = str(folder)
    if sys.path[:1] != [text]:
        sys.path[:] = [text, *(entry for entry in sys.path if entry != text)]


def _gateway_of(module: ModuleType, file: Path) -> Gateway:
    found = {id(value): name for name, value in vars(module).items() if isinstance(value, Gateway)}
    named = vars(module).get("gate")
    if isinstance(named, Gateway):
        return named
    if not found:
        hint = "write `gate = Gateway()` at the top of the file"
        raise ConfigError(f"`{file.name}` creates no gateway", hint=hint, where=Where(str(file)))
    if len(found) > 1:
        names = ", ".join(f"`{name}`" for name in found.values())
        raise ConfigError(
            f"`{file.name}` creates several gateways: {names}", hint="call one `gate`", where=Where(str(file))
        )
    gate: Gateway = vars(module)[next(iter(found.values()))]
    return gate


def _similar_file(file: Path) -> str | None:
    suffixes = (".py", ".yaml", ".yml", ".toml", ".json")
    if not file.parent.is_dir():
        return None
    names = [entry.name for entry in file.parent.iterdir() if entry.suffix in suffixes]
    near = nearest(file.name, names)
    return f"did you mean `{near}`?" if near else None
