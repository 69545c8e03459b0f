"""Memory of a gateway by its number of workers: what each further worker adds (PSS, MB).

    python bench/memory.py [--most 4]

How it works: a gateway with one `def` hook (`headgate run`) and one of data alone (`headgate proxy`) are started with
one worker and with several; each serves some requests; then the PSS of all their processes is summed up
(/proc/PID/smaps_rollup: what is private, and of what is shared each process's part).
"""

import argparse
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

GATE = """
from headgate import Gateway

gate = Gateway()
gate.listen("127.0.0.1:{port}")

@gate.route("/", respond="hello")
def stamp(request):
    request.headers["x-stamp"] = "1"
"""
REQUESTS = 200
KINDS = ("run, a Python hook", "run, data alone", "proxy")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def gateway(kind: str, workers: int, folder: Path) -> Iterator[list[int]]:
    """A gateway that serves; the ids of its processes."""
    port = free_port()
    if kind == "proxy":
        words = ["proxy", f"127.0.0.1:{port}", "--to", "127.0.0.1:9"]
    elif kind == "run, data alone":
        file = folder / "gate.yaml"
        file.write_text(f"listeners: 127.0.0.1:{port}\nroutes: [{{path: /, respond: hello}}]\n")
        words = ["run", str(file)]
    else:
        file = folder / "gate.py"
        file.write_text(GATE.format(port=port))
        words = ["run", str(file)]
    environment = os.environ | {"HEADGATE_RUNTIME_DIR": str(folder / "run")}
    process = subprocess.Popen(
        [sys.executable, "-m", "headgate", *words, "--workers", str(workers), "--log-level", "error"],
        env=environment,
        start_new_session=True,
    )
    try:
        serve(port, workers)
        yield group(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def serve(port: int, workers: int) -> None:
    """Asks until all workers serve, then some more, each on a connection of its own so that all take part."""
    ends = time.monotonic() + 60
    while True:
        try:
            ask(port)
            break
        except OSError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)
    time.sleep(2.0)
    for _ in range(REQUESTS * workers):
        ask(port)


def ask(port: int) -> None:
    """One request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    connection.getresponse().read()
    connection.close()


def group(leader: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.getpgid(int(entry.name)) == leader:
                    found.append(int(entry.name))
    return found


def pss_mb(pid: int) -> float:
    """The proportional set size."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no PSS")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=4, help="Workers of the larger gateway.")
    most = parser.parse_args().most
    print(f"| gateway | all, 1 worker | all, {most} workers | each further worker adds |\n|---|---|---|---|")
    for kind in KINDS:
        sums = []
        for workers in (1, most):
            with tempfile.TemporaryDirectory() as folder, gateway(kind, workers, Path(folder)) as processes:
                sums.append(sum(map(pss_mb, processes)))
        print(f"| {kind} | {sums[0]:.1f} | {sums[1]:.1f} | {(sums[1] - sums[0]) / (most - 1):.1f} MB |")


if __name__ == "__main__":
    main()
