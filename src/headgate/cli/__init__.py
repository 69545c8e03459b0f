"""The command line. Output for programs goes to stdout, everything else to stderr."""

import gc
import sys
from typing import Any, NoReturn


def main() -> None:
    """The program `headgate`.

    What workers are forked from takes as long to start as the supervisor, so it is started ahead of time; it ends
    quietly if the arguments turn out to be wrong.
    """
    from headgate.cli import quick

    line = quick.read(sys.argv[1:])
    if line and line.command == "check":
        _check(**line.arguments)
    if line:
        from headgate.supervisor.zygotes import Zygote

        first = Zygote(is_plain=line.command == "proxy")
        from headgate.cli import starting

        starting.COMMANDS[line.command](first=first, **line.arguments)
    from headgate.cli.app import app

    app(prog_name="headgate")


def _check(**arguments: Any) -> NoReturn:
    """Ends the program. The collector would look through all modules several times, the last time to free them."""
    gc.disable()
    from headgate.cli import checking

    try:
        checking.check(**arguments)
        raise SystemExit(0)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        gc.freeze()
