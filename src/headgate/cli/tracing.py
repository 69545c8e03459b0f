"""The command that shows where the time of the next matching requests goes: `trace`."""

import json
import socket
import sys
import threading
from typing import Annotated

import typer

from headgate.cli.connecting import Pid, PidFile, RuntimeDir, connected
from headgate.cli.failing import FAILURE, OK, fail
from headgate.cli.following import BUFFER_BYTES, compiled, holds, lines


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
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    shown = 0
    try:
        with connected(pid, pid_file, runtime_dir) as client, ours:
            following = client.follow_logs(theirs)
            if (first := next(following, None)) is None:
                fail("the gateway ended", FAILURE)
            print(
                f"waiting for requests in {first.workers} workers; Ctrl-C stops", file=sys.stderr, flush=True
            )
            threading.Thread(target=lambda: list(following), daemon=True).start()
            for line in lines(ours):
                entry = json.loads(line)
                if "dropped" in entry:
                    print(
                        f"{entry['dropped']} requests were lost: too many to read",
                        file=sys.stderr,
                        flush=True,
                    )
                elif holds(condition, entry):
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
