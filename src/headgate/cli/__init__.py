"""The command line. Output for programs goes to stdout, everything else to stderr."""

import sys

STARTING = ("proxy", "run")
"""The commands that need a worker."""


def main() -> None:
    """The program `headgate`.

    A worker takes as long to start as the command line takes to parse, so it is started first; it waits for
    its orders, and leaves quietly if the arguments turn out to be wrong.
    """
    first = None
    if len(sys.argv) > 2 and sys.argv[1] in STARTING and "--help" not in sys.argv:
        from headgate.process.spawn import spawn_worker

        first = spawn_worker()
    from headgate.cli.app import app

    app(obj=first, prog_name="headgate")
