"""The command line. Output for programs goes to stdout, everything else to stderr."""

import sys


def main() -> None:
    """The program `headgate`.

    What workers are forked from takes as long to start as the supervisor, so it is started ahead of time; it ends
    quietly if the arguments turn out to be wrong.
    """
    from headgate.cli import quick

    line = quick.read(sys.argv[1:])
    if line and line.command == "check":
        from headgate.cli import checking

        try:
            checking.check(**line.arguments)
            raise SystemExit(0)
        except KeyboardInterrupt:
            raise SystemExit(130) from None
    if line:
        from headgate.supervisor.zygotes import Zygote

        first = Zygote(is_plain=line.command == "proxy")
        from headgate.cli import starting

        starting.COMMANDS[line.command](first=first, **line.arguments)
    from headgate.cli.app import app

    app(prog_name="headgate")
