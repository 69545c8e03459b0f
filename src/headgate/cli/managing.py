"""The commands for a gateway that runs: `status`, `reload`, `stop`, `upgrade`."""

import json
import sys
import time
from typing import Annotated

import typer

from headgate.cli.connecting import Pid, PidFile, RuntimeDir, connected
from headgate.control.commands import AdminState, Status


def status(
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    hooks: Annotated[
        bool,
        typer.Option("--hooks", help="Show the time that hooks take instead: each, by phase, by plugin."),
    ] = False,
) -> None:
    """Show the running gateway: workers, connections, counters, the last reload."""
    with connected(pid, pid_file, runtime_dir) as client:
        reply = client.hook_times() if hooks else client.status()
    if as_json:
        print(json.dumps(reply.plain(), indent=2))
        return
    from headgate.cli.tables import print_hook_times, print_status

    if isinstance(reply, Status):
        print_status(reply)
    else:
        print_hook_times(reply.hooks)


def reload(pid: Pid = None, pid_file: PidFile = None, runtime_dir: RuntimeDir = None) -> None:
    """Load code and configuration anew; a version that does not load never replaces the one that runs."""
    with connected(pid, pid_file, runtime_dir) as client:
        reply = client.reload()
    print(f"reloaded: generation {reply.generation}", file=sys.stderr)


def stop(
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the requests in flight.")] = False,
) -> None:
    """Stop when the requests in flight are done."""
    with connected(pid, pid_file, runtime_dir) as client:
        client.stop(now=now)
        while client.is_running:
            time.sleep(0.02)


def server(
    upstream: Annotated[str, typer.Argument(help="The upstream's name.")],
    address: Annotated[
        str, typer.Argument(help="The server's address as configured, such as 10.0.0.1:9000.")
    ],
    state: Annotated[
        AdminState,
        typer.Argument(help="`drain`: no new clients; `maintenance`: nothing at all; `ready`: as before."),
    ],
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
) -> None:
    """Take a server out of rotation, or back in; reloads and upgrades change nothing of that."""
    with connected(pid, pid_file, runtime_dir) as client:
        client.set_server(upstream, address, state)
    print(f"{upstream} {address}: {state}", file=sys.stderr)


def upgrade(pid: Pid = None, pid_file: PidFile = None, runtime_dir: RuntimeDir = None) -> None:
    """Start the program anew, say of a newer version, and hand it the listeners; the old one drains."""
    with connected(pid, pid_file, runtime_dir) as client:
        reply = client.upgrade()
    print(f"upgraded: process {reply.pid}", file=sys.stderr)
