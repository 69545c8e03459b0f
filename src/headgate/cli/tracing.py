"""The command that shows where the time of the next matching requests goes: `trace`."""

from typing import Annotated

import typer

from headgate.cli.connecting import Pid, PidFile, RuntimeDir
from headgate.cli.failing import FAILURE, OK, fail
from headgate.cli.following import compiled, followed


def trace(
    predicate: Annotated[
        str, typer.Argument(help='A Python expression over the fields of `headgate logs`: `route == "api"`.')
    ] = "True",
    count: Annotated[int, typer.Option(min=1, help="End after so many requests.")] = 1,
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each request.")] = False,
) -> None:
    """Wait for the next requests for which PREDICATE holds, and show the time of each of their steps."""
    condition = compiled(predicate, "PREDICATE")
    shown = 0
    try:
        for line, entry in followed(
            pid, pid_file, runtime_dir, condition, "waiting for requests in", "requests"
        ):
            if as_json:
                print(line.decode(errors="replace"), flush=True)
            else:
                from headgate.cli.log_lines import print_trace

                print_trace(entry)
            shown += 1
            if shown == count:
                raise SystemExit(OK)
    except KeyboardInterrupt:
        raise SystemExit(OK) from None
    fail("the gateway ended", FAILURE)
