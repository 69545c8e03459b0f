"""Instructions a request takes in user mode, counted by callgrind: repeatable whatever else the machine does.

Only workers run under callgrind: a `sitecustomize` names another interpreter for the supervisor to start them with.
After a warm-up the counters are set to zero, N requests go through one worker one after another; what was counted, less
what the worker does by itself in as much time without a request, is divided by N. Kernel time is not in it. The same
script on two builds compares them:

    bench/instructions.py                       all scenarios, a table on stdout
    bench/instructions.py hooks http2 -n 500    two of them, 500 requests each
    bench/instructions.py --python PATH         with the interpreter (and so the build) of another checkout

Needs nginx as the origin, h2load and valgrind. Files go to a temporary folder.
"""

import argparse
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

BODY_BYTES, POST_BYTES = 5 << 10, 16 << 10
START_LIMIT_S = 120
GATE = """
from headgate import Gateway
gate = Gateway()
gate.listen("127.0.0.1:{port}")
"""
PLAIN = GATE + 'gate.route("/", to="127.0.0.1:{origin}")\n'
HOOKS = (
    GATE
    + """
@gate.route("/", to="127.0.0.1:{origin}")
def access(request):
    request.headers["x-seen"] = request.headers.get("x-user") or "none"

@access.response
def header_filter(request, response):
    response.headers["x-gw"] = "headgate"
"""
)
ORIGIN = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 1000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; root {folder}; location = /post {{ client_max_body_size 1m; return 200 ok; }} }}
}}
"""


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def await_port(port: int) -> None:
    """Returns once somebody accepts there; an error after two minutes."""
    ends = time.monotonic() + START_LIMIT_S
    while time.monotonic() < ends:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"nothing listens on port {port}")


def get(connection: http.client.HTTPConnection) -> None:
    """One request of 5 KB over a kept connection."""
    connection.request("GET", "/5k", headers={"x-user": "alice"})
    if len(connection.getresponse().read()) != BODY_BYTES:
        raise ValueError("the response is not the origin's")


def keep_alive(port: int, count: int) -> None:
    """`count` requests of 5 KB over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(count):
        get(connection)
    connection.close()


def new_connections(port: int, count: int) -> None:
    """`count` requests of 5 KB, each over a connection of its own."""
    for _ in range(count):
        keep_alive(port, 1)


def posts(port: int, count: int) -> None:
    """`count` requests with a body of 16 KB over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(count):
        connection.request("POST", "/post", b"x" * POST_BYTES)
        connection.getresponse().read()
    connection.close()


def http2(port: int, count: int) -> None:
    """`count` requests of 5 KB as streams of one HTTP/2 connection, ten at a time."""
    command = ["h2load", "-n", str(count), "-c", "1", "-m", "10", f"http://127.0.0.1:{port}/5k"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if f"{count} succeeded" not in said:
        raise ValueError(f"h2load says {said}")


# Read by each interpreter as it starts. The supervisor starts others by the script below; under it, a descriptor that
# says nothing stands for a process where valgrind is too old to know pidfd_open.
SITE = """
import os, sys
if os.environ.pop("HEADGATE_COUNTED", None):
    sys.executable = os.environ["HEADGATE_COUNTER"]
else:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        os.pidfd_open = lambda pid, flags=0: os.eventfd(0)
"""
COUNTER = """#!/bin/sh
exec valgrind --tool=callgrind --trace-children=yes --instr-atstart=no \\
  --callgrind-out-file={folder}/out.%p {python} "$@"
"""

SCENARIOS: dict[str, tuple[str, Callable[[int, int], None]]] = {
    "5k": (PLAIN, keep_alive),
    "hooks": (HOOKS, keep_alive),
    "post": (PLAIN, posts),
    "connection": (PLAIN, new_connections),
    "http2": (PLAIN, http2),
}


def worker_of(folder: Path) -> int:
    """The process id of the one worker: the newest process that writes a file of callgrind's to `folder`."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], check=True, capture_output=True, text=True).stdout
    return max(int(line.split(None, 1)[0]) for line in listed.splitlines() if f"{folder}/out." in line)


def control(pid: int, *command: str) -> None:
    """Asks callgrind in that process: `instrumentation on` begins to count, `zero` starts again, `dump` writes down."""
    subprocess.run(["vgdb", f"--pid={pid}", *command], check=True, capture_output=True)


def dumped(folder: Path, worker: int) -> int:
    """Instructions since the counters were last set to zero."""
    known = set(folder.glob(f"out.{worker}*"))
    control(worker, "dump")
    totals = [
        re.search(r"^(?:totals|summary):\s+(\d+)", one.read_text(), re.M)
        for one in set(folder.glob(f"out.{worker}*")) - known
    ]
    return max(int(total[1]) for total in totals if total)


def counted(python: str, scenario: str, count: int, origin: int) -> float:
    """Instructions per request of one scenario."""
    text, load = SCENARIOS[scenario]
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="headgate-instructions-"))
    gate = folder / "gate.py"
    gate.write_text(text.format(port=port, origin=origin))
    (folder / "sitecustomize.py").write_text(SITE)
    counter = folder / "counter"
    counter.write_text(COUNTER.format(folder=folder, python=python))
    counter.chmod(0o755)
    environment = os.environ | {
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(folder),
        "HEADGATE_RUNTIME_DIR": str(folder),
        "HEADGATE_COUNTED": "1",
        "HEADGATE_COUNTER": str(counter),
    }
    command = [python, "-m", "headgate", "run", str(gate), "--workers", "1"]
    with (folder / "log").open("w") as log:
        gateway = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        await_port(port)
        worker = worker_of(folder)
        load(port, 50)
        control(worker, "instrumentation", "on")
        load(port, 50)
        control(worker, "zero")
        began = time.monotonic()
        load(port, count)
        took_s = time.monotonic() - began
        instructions = dumped(folder, worker)
        control(worker, "zero")
        time.sleep(took_s)
        return (instructions - dumped(folder, worker)) / count
    finally:
        os.killpg(gateway.pid, signal.SIGKILL)
        gateway.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Runs what the command line names, prints one line a scenario."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], default=[], metavar="SCENARIO")
    parser.add_argument("-n", dest="count", type=int, default=1000, help="requests (1000)")
    parser.add_argument("--python", default=sys.executable, help="whose headgate to run")
    options = parser.parse_args()
    folder, port = Path(tempfile.mkdtemp(prefix="headgate-origin-")), free_port()
    folder.chmod(0o755)
    (folder / "5k").write_text("x" * BODY_BYTES)
    (folder / "nginx.conf").write_text(ORIGIN.format(folder=folder, port=port))
    origin = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    try:
        await_port(port)
        for name in options.scenarios or SCENARIOS:
            per_request = counted(options.python, name, options.count, port)
            print(f"{name:12} {per_request:10,.0f}", flush=True)
    finally:
        origin.terminate()
        origin.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
