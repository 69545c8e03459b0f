"""How commands fail: one clear message on stderr, and an exit code that says whose fault it was."""

import sys
from typing import NoReturn

from headgate.cli.printable import printable

OK, FAILURE, USAGE, NOT_RUNNING = 0, 1, 2, 3

EXIT_CODES = (
    "Exit codes: 0 success; 1 failed while running, or the command could not be "
    "carried out; 2 wrong usage or configuration; 3 no gateway is running."
)


def fail(message: str, code: int) -> NoReturn:
    """Ends the command; `message` may have a second line with a hint."""
    print(f"error: {printable(message)}", file=sys.stderr)
    raise SystemExit(code)
