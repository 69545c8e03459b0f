"""The command line. Output for programs goes to stdout, everything else to stderr."""

import sys


def main() -> None:
    """The program `headgate`.

    A worker takes as long to start as the supervisor, so one is started ahead of time; it waits for its orders, and
    leaves quietly if the arguments turn out to be wrong.
    """
    from headgate.cli import quick

    if line := quick.read(sys.argv[1:]):
        from headgate.supervisor.spawn import spawn_worker

        first = spawn_worker(is_plain=line.command == "proxy")
        from headgate.cli import starting

        starting.COMMANDS[line.command](first=first, **line.arguments)
    from headgate.cli.app import app

    app(prog_name="headgate")
