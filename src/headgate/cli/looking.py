"""The command that looks into a gateway that runs: `inspect`."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from headgate.cli.connecting import Pid, PidFile, RuntimeDir, connected
from headgate.cli.failing import FAILURE, OK, USAGE, fail
from headgate.control.commands import Looking, LookingEnded, Seen
from headgate.control.inspection_messages import InspectOrder
from headgate.control.records import Message


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
    count: Annotated[int, typer.Option(min=0, help="Stop after so many hits; 0: no limit.")] = 10,
    for_: Annotated[
        str, typer.Option("--for", help="Stop after this time: `30s`, `5m`; at most 1h.")
    ] = "60s",
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A line of JSON for each hit, for programs.")
    ] = False,
) -> None:
    """Inspect a line or a function of the running code in every worker: its local variables and the request.

    Nothing is stopped or restarted; Ctrl-C removes the breakpoint.
    """
    from headgate.config.errors import ConfigError
    from headgate.config.units import parse_duration

    for expression in [*([condition] if condition else []), *(show or [])]:
        try:
            compile(expression, "<inspect>", "eval")
        except SyntaxError as error:
            fail(f"`{expression}` is not a valid expression: {error.msg}", USAGE)
    try:
        for_s = parse_duration(for_)
    except ConfigError as error:
        fail(f"--for: {error}", USAGE)
    order = InspectOrder(at=at, condition=condition, show=show or [], handler=handler, count=count)
    try:
        with connected(pid, pid_file, runtime_dir) as client:
            _print(client.look(order, for_s), for_s, as_json=as_json)
    except KeyboardInterrupt:
        raise SystemExit(OK) from None


def _print(replies: Iterator[Message], for_s: float, *, as_json: bool) -> None:
    is_looking = False
    for reply in replies:
        match reply:
            case Looking(place=place):
                is_looking = True
                print(f"inspecting {place} for {for_s:g} s; Ctrl-C stops", file=sys.stderr, flush=True)
            case LookingEnded():
                print(f"{reply.hits} hits, ended by {reply.end}", file=sys.stderr)
            case Seen() if as_json:
                print(json.dumps(reply.plain()), flush=True)
            case Seen():
                from headgate.cli.tables import print_hit

                print_hit(reply)
    if not is_looking:
        fail("the gateway ended", FAILURE)
