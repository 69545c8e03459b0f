"""Makes a file into a gateway: runs `gate.py`, or builds the same from YAML, TOML or JSON."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import linecache
import os
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from headgate import message, plugin, route
from headgate._caller import is_users
from headgate._decorators import PhaseDecorator
from headgate.background.job_process import UsersFile
from headgate.config.documents import read_document, read_text
from headgate.config.errors import ConfigError, Problem, Where, suggestion
from headgate.gateway import Gateway
from headgate.phases import PHASES

from .fresh_imports import import_fresh_from

_numbers = itertools.count(1)


def load(path: str | os.PathLike[str]) -> Gateway:
    """The gateway that `path` describes, by its suffix; raises `ConfigError` for whatever is wrong with it."""
    file = Path(path).absolute()
    if not file.is_file():
        raise ConfigError(f"there is no file `{os.fspath(path)}`", hint=_similar_file(file))
    _lead_with(file.parent)
    import_fresh_from(file.parent)
    if file.suffix == ".py":
        module = _run(file)
        gate = _gateway_of(module, file)
        gate.background.names(UsersFile(str(file), read_text(file), module.__name__))
        return gate
    from .documents import gateway_of_document

    return gateway_of_document(read_document(file), file.parent)


def _lead_with(folder: Path) -> None:
    """Puts the file's folder first on `sys.path`, as `python gate.py` would."""
    text = str(folder)
    if sys.path[:1] != [text]:
        sys.path[:] = [text, *(entry for entry in sys.path if entry != text)]


def load_as(file: str, text: str, module: str) -> None:
    """Runs a gateway's file once more, in another process, as the module that its functions are named by."""
    made = ModuleType(module)
    made.__file__ = file
    sys.modules[module] = made
    exec(compile(text, file, "exec"), made.__dict__)


def _run(file: Path) -> ModuleType:
    # Neither `import` nor its cache: a file saved twice within a second must not be mistaken for its former self.
    digest = hashlib.sha256(str(file).encode()).hexdigest()[:8]
    module = ModuleType(f"headgate_file_{file.stem}_{digest}_{next(_numbers)}".replace("-", "_"))
    module.__file__ = str(file)
    sys.modules[module.__name__] = module
    linecache.checkcache(str(file))
    try:
        exec(compile(read_text(file), str(file), "exec"), module.__dict__)
    except ConfigError as error:
        del sys.modules[module.__name__]
        raise error.at(_users_line(error)) from error.__cause__
    except Exception as error:
        del sys.modules[module.__name__]
        raise ConfigError([_problem(error, file)]) from error
    return module


def _gateway_of(module: ModuleType, file: Path) -> Gateway:
    found = {id(value): name for name, value in vars(module).items() if isinstance(value, Gateway)}
    named = vars(module).get("gate")
    if isinstance(named, Gateway):
        return named
    if not found:
        hint = "write `gate = Gateway()` at the top of the file"
        raise ConfigError(f"`{file.name}` makes no gateway", hint=hint, where=Where(str(file)))
    if len(found) > 1:
        names = ", ".join(f"`{name}`" for name in found.values())
        raise ConfigError(
            f"`{file.name}` makes several gateways: {names}", hint="call one `gate`", where=Where(str(file))
        )
    gate: Gateway = vars(module)[next(iter(found.values()))]
    return gate


def _problem(error: Exception, file: Path) -> Problem:
    if isinstance(error, SyntaxError):
        return Problem(f"syntax error: {error.msg}", None, Where(error.filename or str(file), error.lineno))
    text = str(error)
    kind = type(error).__name__
    # Only a word is lowered, not a name such as `Gateway.route()`.
    shown = re.sub(r"^[A-Z](?=[a-z]* )", lambda first: first[0].lower(), text) or "failed"
    return Problem(f"{kind}: {shown}", _hint(error), _users_line(error) or Where(str(file)))


def _users_line(error: Exception) -> Where | None:
    """The innermost line of the traceback that is the user's, not a library's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    own = [
        frame
        for frame in frames
        if "site-packages" not in frame.filename and not _is_standard(frame.filename)
    ]
    if not (own or frames):
        return None
    last = (own or frames)[-1]
    return Where(last.filename, last.lineno)


def _is_standard(file: str) -> bool:
    return file.startswith(os.path.dirname(os.__file__) + os.sep)


def _hint(error: Exception) -> str | None:
    if isinstance(error, AttributeError) and type(error.obj).__module__.startswith("headgate."):
        if error.name in PHASES:
            return (
                f"phase `{error.name}` is not one of a `{type(error.obj).__name__}`: hang it on the gateway"
            )
        return suggestion(str(error.name), [name for name in dir(error.obj) if not name.startswith("_")])
    unknown = re.search(r"(\w+)\.(\w+)\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if isinstance(error, TypeError) and unknown:
        owners: dict[str, Any] = {
            "Gateway": Gateway,
            "PhaseDecorator": PhaseDecorator,
            "Response": message.Response,
            "Route": route.Route,
            "Plugin": plugin.Plugin,
        }
        called = getattr(owners.get(unknown[1]), unknown[2], None)
        if called is not None:
            parameters = inspect.signature(called).parameters.values()
            return suggestion(unknown[3], [p.name for p in parameters if p.kind is p.KEYWORD_ONLY])
    return None


def _similar_file(file: Path) -> str | None:
    suffixes = (".py", ".yaml", ".yml", ".toml", ".json")
    if not file.parent.is_dir():
        return None
    names = [entry.name for entry in file.parent.iterdir() if entry.suffix in suffixes]
    return suggestion(file.name, names) if names and len(names) <= 20 else None
