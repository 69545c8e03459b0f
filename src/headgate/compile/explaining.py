"""What is said of an error in a user's file: one sentence, the user's line, and a hint."""

from __future__ import annotations

import inspect
import os
import re
import traceback
from pathlib import Path
from typing import Any

from headgate import message, plugin, route
from headgate._caller import is_users
from headgate._decorators import PhaseDecorator
from headgate.config.errors import Problem, Where, suggestion
from headgate.config.start_limit import ENVIRONMENT, StartTooLong
from headgate.gateway import Gateway
from headgate.phases import PHASES

from .fresh_imports import SecondLoad
from .hard_exits import HardExit


def problem(error: BaseException, file: Path) -> Problem:
    """The error as it is shown to the user."""
    if isinstance(error, SyntaxError):
        return Problem(f"syntax error: {error.msg}", None, Where(error.filename or str(file), error.lineno))
    where = users_line(error) or Where(str(file))
    if isinstance(error, SecondLoad):
        return Problem(error.sentence, error.hint, where)
    if isinstance(error, StartTooLong):
        return Problem(
            f"`{file.name}` takes too long to load: {error}",
            f"move long-running work to a task or a thread; `{ENVIRONMENT}=120` allows 120 seconds",
            where,
        )
    if isinstance(error, SystemExit):
        return _exit(error, file, where)
    text = str(error)
    kind = type(error).__name__
    # Only a word is lowered, not a name such as `Gateway.route()`.
    shown = re.sub(r"^[A-Z](?=[a-z]* )", lambda first: first[0].lower(), text) or "failed"
    return Problem(f"{kind}: {shown}", _hint(error, file), where)


def _exit(error: SystemExit, file: Path, where: Where) -> Problem:
    frames = traceback.extract_tb(error.__traceback__)
    if any(os.path.basename(frame.filename) == "argparse.py" for frame in frames):
        return Problem(
            f"`{file.name}` parses the command line, which belongs to the gateway",
            "read settings from the environment, or parse under `if __name__ == '__main__':`",
            where,
        )
    call = "os._exit" if isinstance(error, HardExit) else "sys.exit"
    return Problem(
        f"`{file.name}` calls `{call}({'' if error.code is None else repr(error.code)})` while it is loaded",
        "raise an exception to refuse to start, or exit under `if __name__ == '__main__':`",
        where,
    )


def users_line(error: BaseException) -> Where | None:
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


def _hint(error: BaseException, file: Path) -> str | None:
    if isinstance(error, ImportError) and "relative import" in str(error):
        return "the file's folder is on the path: write `import rules` in place of `from . import rules`"
    if isinstance(error, ImportError) and "from '__main__'" in str(error):
        return f"the file is the module `{file.stem}`: write `from {file.stem} import ...`"
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] == file.parent.name:
        return f"the file's folder is on the path, not the folder above: leave out `{file.parent.name}.`"
    if isinstance(error, ImportError) and (error.path == str(file) or "partially initialized" in str(error)):
        return (
            "two modules import each other: import below what the other one takes, such as `gate = Gateway()`"
        )
    if isinstance(error, AttributeError) and type(error.obj).__module__.startswith("headgate."):
        if error.name in PHASES:
            return f"`{type(error.obj).__name__}` has no phase `{error.name}`: register it on the gateway"
        return suggestion(str(error.name), [name for name in dir(error.obj) if not name.startswith("_")])
    unknown = re.search(r"(\w+)\.(\w+)\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if isinstance(error, TypeError) and unknown:
        owners: dict[str, Any] = {
            **{kind.__name__: kind for kind in Gateway.__mro__},
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
