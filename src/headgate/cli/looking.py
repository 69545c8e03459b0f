"""The command that looks into a gateway that runs: `inspect`."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from headgate.cli.failing import FAILURE, NOT_RUNNING, OK, USAGE, fail
from headgate.cli.managing import Pid, PidFile


def inspect(
    at: Annotated[str, typer.Argument(help="`file.py:LINE`, `module:function` or `module:Class.method`.")],
    condition: Annotated[
        str | None,
        typer.Option("--if", help="A Python expression over the locals, the globals and `request`."),
    ] = None,
    show: Annotated[
        list[str] | None, typer.Option(help="An expression to show instead of all locals; may be repeated.")
    ] = None,
    handler: Annotated[
        str | None,
        typer.Option(help="`module:function`, called in the worker with a `headgate.inspection.Hit`."),
    ] = None,
    count: Annotated[int, typer.Option(min=0, help="End after so many hits; 0: only by the time.")] = 10,
    for_: Annotated[str, typer.Option("--for", help="End after this time: `30s`, `5m`; at most 1h.")] = "60s",
    pid: Pid = None,
    pid_file: PidFile = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A line of JSON for each hit, for programs.")
    ] = False,
) -> None:
    """Look at a line or a function of the running code, in every worker: what its locals and the request are.

    Nothing stops or restarts; Ctrl-C takes the breakpoint off again.
    """
    from headgate.config.errors import ConfigError
    from headgate.config.units import parse_duration

    for expression in [*([condition] if condition else []), *(show or [])]:
        try:
            compile(expression, "<inspect>", "eval")
        except SyntaxError as error:
            fail(f"`{expression}` is no expression: {error.msg}", USAGE)
    try:
        for_s = parse_duration(for_)
    except ConfigError as error:
        fail(f"--for: {error}", USAGE)
    order = {"at": at, "condition": condition, "show": show or [], "handler": handler, "count": count}
    lines = _lines(pid, pid_file, {"command": "inspect", "order": order, "for_s": for_s})
    try:
        first = next(lines, {"ok": False, "error": "the gateway ended"})
        if not first.get("ok"):
            fail(str(first["error"]), FAILURE)
        print(f"looking at {first['place']}, for {for_s:g} s; Ctrl-C ends it", file=sys.stderr, flush=True)
        for line in lines:
            if "end" in line:
                print(f"{line['hits']} hits, ended by {line['end']}", file=sys.stderr)
            elif as_json:
                print(json.dumps(line), flush=True)
            else:
                from headgate.cli.tables import print_hit

                print_hit(line)
    except KeyboardInterrupt:
        raise SystemExit(OK) from None


def _lines(pid: int | None, pid_file: Path | None, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    from headgate.control import runtime

    try:
        yield from runtime.follow(runtime.find(pid, pid_file), request)
    except runtime.Ambiguous as error:
        fail(str(error), USAGE)
    except runtime.NotRunning as error:
        fail(str(error), NOT_RUNNING)
    except OSError as error:
        fail(f"cannot talk to the gateway: {error}", FAILURE)


def shown_time(unix: float) -> str:
    """`12:30:01.123`, local."""
    return f"{time.strftime('%H:%M:%S', time.localtime(unix))}.{int(unix % 1 * 1000):03d}"
