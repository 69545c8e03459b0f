"""Instructions and system calls a request takes, counted by callgrind: repeatable whatever else the machine does.

Only workers run under callgrind: a `sitecustomize` names another interpreter for the supervisor to start them with.
After a warm-up the counters are set to zero, N requests go through one worker one after another; what was counted until
logs are flushed and spans are sent, less what the worker does by itself in as much time without a request, is divided
by N. Instructions are those in user mode. The same script on two builds compares them:

    bench/instructions.py                       all scenarios, a table on stdout
    bench/instructions.py hooks http2 -n 500    two of them, 500 requests each
    bench/instructions.py 5k metrics watched    what it costs to be watched, in per cent over the first
                                                (also: json, traced-1, traced-100)
    bench/instructions.py servers-1 servers-4096 -n 4096
                                                what it costs to have many servers, all of them used
    bench/instructions.py 5k rate-limit gzip    what these plugins cost; gzip of one letter, so little is compressing
    bench/instructions.py --python PATH         with the interpreter (and so the build) of another checkout
    bench/instructions.py 5k --keep FOLDER      leaves what callgrind has written there, for `callgrind_annotate`

Needs nginx as the origin, valgrind, h2load for HTTP/2, and bench/h3load for HTTP/3. Files go to a temporary folder.
"""

import argparse
import gzip
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.seeing_clients import collector

BODY_BYTES, POST_BYTES = 5 << 10, 16 << 10
MANY = 4096
START_LIMIT_S = 120
SETTLE_S = 4
"""In which logs are flushed, and spans are sent."""
GATE = """
from headgate import Gateway
gate = Gateway()
gate.listen("127.0.0.1:{port}")
gate.watchdog(kill=None)  # under callgrind all is fifty times slower
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
METRICS = PLAIN + 'gate.metrics("127.0.0.1:{metrics}")\n'
WATCHED = METRICS + 'gate.access_log("combined", to="file:{folder}/access.log")\n'
JSON = METRICS + 'gate.access_log("json", to="file:{folder}/access.log")\n'
SERVERS = (
    GATE
    + """
servers = [f"127.0.{{n // 250}}.{{n % 250 + 1}}:{origin}" for n in range(COUNT)]
gate.route("/", to=gate.upstream("app", *servers, balance="round_robin"))
"""
)
TRACED = PLAIN + 'gate.tracing("http://127.0.0.1:{collector}", sample="SHARE")\n'
LIMITED = PLAIN + 'from headgate.plugins import RateLimit\ngate.use(RateLimit(rate="4000000000/s"))\n'
GZIPPED = PLAIN + "from headgate.plugins import Compression\ngate.use(Compression())\n"
HTTP3 = GATE.replace(
    '")', '", tls={{"certificates": ["{folder}/pair.pem"]}}, http3=True)'
) + PLAIN.removeprefix(GATE)
LOADER = shutil.which("headgate-h3load") or str(Path.home() / "go/bin/headgate-h3load")
ORIGIN = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
worker_rlimit_nofile 10000; events {{ worker_connections 9000; }}
http {{
  access_log off; keepalive_requests 1000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen {port}; root {folder}; location = /post {{ client_max_body_size 1m; return 200 ok; }} }}
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


def gzipped(port: int, count: int) -> None:
    """`count` requests of 5 KB over one connection, which come in gzip."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(count):
        connection.request("GET", "/5k", headers={"accept-encoding": "gzip"})
        if len(gzip.decompress(connection.getresponse().read())) != BODY_BYTES:
            raise ValueError("the response is not the origin's")
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


def http3(port: int, count: int) -> None:
    """`count` requests of 5 KB as streams of one HTTP/3 connection, ten at a time."""
    url = f"https://127.0.0.1:{port}/5k"
    command = [LOADER, "-url", url, "-connections", "1", "-requests", str(count)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if said["requests"] != count:
        raise ValueError(f"headgate-h3load says {said}")


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
exec valgrind --tool=callgrind --trace-children=yes --instr-atstart=no --collect-systime=yes \\
  --callgrind-out-file={folder}/out.%p {python} "$@"
"""

SCENARIOS: dict[str, tuple[str, Callable[[int, int], None]]] = {
    "5k": (PLAIN, keep_alive),
    "hooks": (HOOKS, keep_alive),
    "post": (PLAIN, posts),
    "connection": (PLAIN, new_connections),
    "http2": (PLAIN, http2),
    "metrics": (METRICS, keep_alive),
    "watched": (WATCHED, keep_alive),
    "json": (JSON, keep_alive),
    "traced-1": (TRACED.replace("SHARE", "1%"), keep_alive),
    "traced-100": (TRACED.replace("SHARE", "100%"), keep_alive),
    "rate-limit": (LIMITED, keep_alive),
    "gzip": (GZIPPED, gzipped),
    "http3": (HTTP3, http3),
    "servers-1": (SERVERS.replace("COUNT", "1"), keep_alive),
    f"servers-{MANY}": (SERVERS.replace("COUNT", str(MANY)), keep_alive),
}
WARM_UP = {f"servers-{MANY}": 2 * MANY}
"""Requests before any are counted: each server is to have a connection."""


@dataclass(frozen=True)
class Spent:
    """What one process has done."""

    instructions: float
    system_calls: float

    def less(self, other: "Spent", requests: int) -> "Spent":
        """The difference by requests."""
        instructions = (self.instructions - other.instructions) / requests
        return Spent(instructions, (self.system_calls - other.system_calls) / requests)


def worker_of(folder: Path) -> int:
    """The process id of the one worker: the newest process that writes a file of callgrind's to `folder`."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], check=True, capture_output=True, text=True).stdout
    return max(int(line.split(None, 1)[0]) for line in listed.splitlines() if f"{folder}/out." in line)


def certificate(folder: Path) -> None:
    """Writes `pair.pem`: a key and a certificate for the host that bench/h3load asks for."""
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=gate.test"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(["openssl", *request.split(), *files], check=True, capture_output=True)
    pair = (folder / "cert.pem").read_text() + (folder / "key.pem").read_text()
    (folder / "pair.pem").write_text(pair)


def control(pid: int, *command: str) -> None:
    """Asks callgrind in that process: `instrumentation on` begins to count, `zero` starts again, `dump` writes down."""
    subprocess.run(["vgdb", f"--pid={pid}", *command], check=True, capture_output=True)


def dumped(folder: Path, worker: int) -> Spent:
    """What it has done since the counters were last set to zero."""
    known = set(folder.glob(f"out.{worker}*"))
    control(worker, "dump")
    totals = []
    for one in set(folder.glob(f"out.{worker}*")) - known:
        text = one.read_text()
        events = re.search(r"^events: (.*)", text, re.M)
        total = re.search(r"^(?:totals|summary):\s+(.*)", text, re.M)
        if events and total:
            totals.append(dict(zip(events[1].split(), map(int, total[1].split()), strict=False)))
    largest = max(totals, key=lambda total: total["Ir"])
    return Spent(largest["Ir"], largest.get("sysCount", 0))


def counted(scenario: str, options: argparse.Namespace, **ports: int) -> Spent:
    """What a request takes in one scenario; `ports` are those of the origin and the collector."""
    text, load = SCENARIOS[scenario]
    count, keep, python = options.count, options.keep, options.python
    port, metrics = free_port(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="headgate-instructions-"))
    gate = folder / "gate.py"
    gate.write_text(text.format(port=port, metrics=metrics, folder=folder, **ports))
    certificate(folder)
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
        load(port, WARM_UP.get(scenario, 50))
        control(worker, "instrumentation", "on")
        load(port, 50)
        control(worker, "zero")
        began = time.monotonic()
        load(port, count)
        time.sleep(SETTLE_S)
        took_s = time.monotonic() - began
        spent = dumped(folder, worker)
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
            newest = max(folder.glob(f"out.{worker}*"), key=lambda one: one.stat().st_size)
            shutil.copy(newest, keep / scenario)
        control(worker, "zero")
        time.sleep(took_s)
        return spent.less(dumped(folder, worker), count)
    finally:
        os.killpg(gateway.pid, signal.SIGKILL)
        gateway.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Prints a line a scenario: instructions, per cent over the first one, system calls."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS], default=[], metavar="SCENARIO")
    parser.add_argument("-n", dest="count", type=int, default=1000, help="requests (1000)")
    parser.add_argument("--python", default=sys.executable, help="whose headgate to run")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where callgrind's files are left")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    folder, port = Path(tempfile.mkdtemp(prefix="headgate-origin-")), free_port()
    folder.chmod(0o755)
    (folder / "5k").write_text("x" * BODY_BYTES)
    (folder / "nginx.conf").write_text(ORIGIN.format(folder=folder, port=port))
    origin = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    try:
        await_port(port)
        first = None
        spans = free_port()
        with collector(spans):
            for name in options.scenarios or SCENARIOS:
                one = counted(name, options, origin=port, collector=spans)
                first = first or one
                more = 100 * (one.instructions / first.instructions - 1)
                print(
                    f"{name:12} {one.instructions:10,.0f} {more:+7.1f} % {one.system_calls:7.2f}", flush=True
                )
    finally:
        origin.terminate()
        origin.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
