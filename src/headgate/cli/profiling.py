"""The command that takes a profile of a running gateway: `profile`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from headgate.cli.connecting import Pid, PidFile, RuntimeDir, connected
from headgate.cli.failing import FAILURE, USAGE, fail

MOST_SHOWN = 20


def profile(
    seconds: Annotated[
        float, typer.Option("--seconds", "-s", min=0.05, max=600, help="How long it takes.")
    ] = 10,
    rate: Annotated[int, typer.Option(min=1, max=1000, help="Samples per second, in each worker.")] = 200,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The files are this with `.svg` and `.speedscope.json`.")
    ] = Path("profile"),
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The profile itself, for programs; writes no file.")
    ] = False,
) -> None:
    """Sample the Python stacks of a running gateway's workers, by phase and hook: a flame graph and a speedscope file.

    Nothing is restarted, and requests are served meanwhile.
    """
    folder = output.parent
    if not folder.is_dir():
        fail(f"--output: the directory `{folder}` does not exist", USAGE)
    with connected(pid, pid_file, runtime_dir) as client:
        reply = client.profile(seconds, 1 / rate)
    if as_json:
        print(json.dumps(reply.plain()))
        return
    from headgate.cli.profile_tables import print_profile
    from headgate.profiling.flame_graph import flame_graph
    from headgate.profiling.profile import Profile
    from headgate.profiling.speedscope import speedscope

    taken = Profile.of(reply.profile)
    title = f"headgate, {seconds:g} s of {reply.workers} workers"
    files = {
        output.with_name(f"{output.name}.svg"): flame_graph(taken, title),
        output.with_name(f"{output.name}.speedscope.json"): json.dumps(speedscope(taken, title)),
    }
    print_profile(taken, seconds * reply.workers, MOST_SHOWN)
    if reply.missing:
        print(f"{reply.missing} workers did not respond in time")
    try:
        for path, text in files.items():
            path.write_text(text)
            print(path)
    except OSError as error:
        fail(f"cannot write `{error.filename}`: {error.strerror}", FAILURE)
