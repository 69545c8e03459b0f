"""The command that follows the requests of a running gateway: `logs`."""

import builtins
import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Annotated, Any

import typer

from headgate.cli.connecting import Pid, PidFile, RuntimeDir, connected
from headgate.cli.failing import FAILURE, OK, USAGE, fail

LONGEST_LINE_BYTES = 256 * 1024
BUFFER_BYTES = 4 << 20
"""What the kernel may hold while this command is slow; beyond that lines are lost, and counted."""
FIELDS = (
    *("time", "client", "method", "host", "target", "version", "status", "request_bytes", "response_bytes"),
    *(
        "body_bytes",
        "referer",
        "user_agent",
        "request_id",
        "trace_id",
        "span_id",
        "route",
        "upstream",
        "server",
    ),
    *(
        "attempts",
        "queue_us",
        "connect_us",
        "head_us",
        "total_us",
        "hook_us",
        "steps",
        "hooks",
        "limit",
        "error",
        "tls",
    ),
)
FUNCTIONS = ("abs", "all", "any", "bool", "float", "int", "len", "max", "min", "sorted", "str", "sum")


def logs(
    follow: Annotated[
        bool,
        typer.Option("--follow/--no-follow", "-f", help="Go on until Ctrl-C; without it one line is shown."),
    ] = True,
    where: Annotated[
        str | None,
        typer.Option(help='A Python expression over the fields: `status >= 500 and route == "api"`.'),
    ] = None,
    count: Annotated[int, typer.Option(min=0, help="End after so many lines; 0: no limit.")] = 0,
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="The lines as they are, for programs.")] = False,
) -> None:
    """Follow the requests of a running gateway, whether or not it writes an access log.

    A line is shown when its request has ended. The fields are those of the `json` access log.
    """
    condition = compiled(where) if where else None
    wanted = count or (0 if follow else 1)
    shown = 0
    try:
        for line, entry in followed(pid, pid_file, runtime_dir, condition, "following", "lines"):
            if as_json:
                print(line.decode(errors="replace"), flush=True)
            else:
                from headgate.cli.log_lines import print_line

                print_line(entry)
            shown += 1
            if shown == wanted:
                raise SystemExit(OK)
    except KeyboardInterrupt:
        raise SystemExit(OK) from None
    print("the gateway ended", file=sys.stderr)


def followed(
    pid: int | None,
    pid_file: Path | None,
    runtime_dir: Path | None,
    condition: CodeType | None,
    doing: str,
    what: str,
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Requests for which the condition holds, each as its line and its fields, until the gateway ends.

    Says on stderr that it is `doing` so in how many workers, and how many of `what` were lost.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    with connected(pid, pid_file, runtime_dir) as client, ours:
        following = client.follow_logs(theirs)
        if (first := next(following, None)) is None:
            fail("the gateway ended", FAILURE)
        print(f"{doing} {first.workers} workers; Ctrl-C stops", file=sys.stderr, flush=True)
        # the line is closed when the gateway stops; the workers write until their last request
        threading.Thread(target=lambda: list(following), daemon=True).start()
        for line in lines(ours):
            entry = json.loads(line)
            if "dropped" in entry:
                print(f"{entry['dropped']} {what} were lost: too many to read", file=sys.stderr, flush=True)
            elif condition is None or holds(condition, entry):
                yield line, entry


def lines(end: socket.socket) -> Iterator[bytes]:
    """What comes, until nobody writes any more."""
    while line := end.recv(LONGEST_LINE_BYTES):
        yield line


def compiled(where: str, said: str = "--where") -> CodeType:
    """A condition on lines, checked; one that is not valid ends the program. `said` is what it was given as."""
    try:
        code = compile(where, "<where>", "eval")
    except (SyntaxError, ValueError) as error:
        hint = (
            "\n  hint: write `and`, `or`, `not`" if any(sign in where for sign in ("&&", "||", "!")) else ""
        )
        fail(f"{said}: `{where}` is not a valid expression: {error}{hint}", USAGE)
    for name in code.co_names:
        if name not in FIELDS and name not in FUNCTIONS and not hasattr(str, name):
            fail(f"{said}: there is no field `{name}`\n  hint: the fields are {', '.join(FIELDS)}", USAGE)
    return code


def holds(condition: CodeType, entry: dict[str, Any]) -> bool:
    """Whether it holds for this line; not if the line has no value for it, as for `tls["version"]` in cleartext."""
    functions = {name: getattr(builtins, name) for name in FUNCTIONS}
    try:
        # the expression is that of who runs this command, in this command's own process
        return bool(eval(condition, {"__builtins__": {}, **functions}, entry))
    except (TypeError, KeyError, IndexError, ValueError, AttributeError):
        return False
