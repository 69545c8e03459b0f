"""The commands for a gateway that runs: `status`, `reload`, `stop`, `upgrade`."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from headgate.cli.failing import FAILURE, NOT_RUNNING, USAGE, fail

Pid = Annotated[
    int | None, typer.Option(help="The gateway with this supervisor process; needed if several run.")
]
PidFile = Annotated[Path | None, typer.Option(help="The gateway that wrote this pid file.")]


def status(
    pid: Pid = None,
    pid_file: PidFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    hooks: Annotated[
        bool, typer.Option("--hooks", help="How long hooks take instead: each, by phase, by plugin.")
    ] = False,
) -> None:
    """Show what runs: workers, connections, counters, the last reload."""
    _, answer = _ask(pid, pid_file, "hooks" if hooks else "status")
    answer.pop("ok", None)
    if hooks and not as_json:
        from headgate.cli.tables import print_hook_times

        return print_hook_times(answer["hooks"])
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        from headgate.cli.tables import print_status

        print_status(answer)


def reload(pid: Pid = None, pid_file: PidFile = None) -> None:
    """Load code and configuration anew; a version that does not load never replaces the one that runs."""
    _, answer = _ask(pid, pid_file, "reload")
    print(f"reloaded: generation {answer['generation']}", file=sys.stderr)


def stop(
    pid: Pid = None,
    pid_file: PidFile = None,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the requests in flight.")] = False,
) -> None:
    """Stop when the requests in flight are done."""
    from headgate.control import runtime

    found, _ = _ask(pid, pid_file, "stop-now" if now else "stop")
    while found in runtime.running():
        time.sleep(0.02)


def upgrade(pid: Pid = None, pid_file: PidFile = None) -> None:
    """Start the program anew, say of a newer version, and hand it the listeners; the old one drains."""
    _, answer = _ask(pid, pid_file, "upgrade")
    print(f"upgraded: process {answer['pid']}", file=sys.stderr)


def _ask(pid: int | None, pid_file: Path | None, command: str) -> tuple[int, dict[str, Any]]:
    from headgate.control import runtime

    try:
        found = runtime.find(pid, pid_file)
        answer = runtime.ask(found, command)
    except runtime.Ambiguous as error:
        fail(str(error), USAGE)
    except runtime.NotRunning as error:
        fail(str(error), NOT_RUNNING)
    except OSError as error:
        fail(f"cannot talk to the gateway: {error}", FAILURE)
    if not answer.get("ok"):
        fail(answer["error"], FAILURE)
    return found, answer
