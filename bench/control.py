"""Admin write to effect: how long a PUT takes until every worker serves the change, with few routes and with many.

    python bench/control.py [--routes 0 10000] [--writes 200] [--workers 2]

Each write changes one route; the response comes when every worker has applied it, which kept connections to the
gateway then confirm. Times are those of the whole request, on one connection to a Unix socket.
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

HEADGATE = Path(os.environ.get("HEADGATE_COMMAND") or Path(sys.executable).parent / "headgate")
CONNECTIONS = 8


class Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self) -> None:
        """Connects to the socket's file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(120)
        self.sock.connect(self.path)


def ask(line: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """Status and body of one request."""
    data = None if body is None else json.dumps(body)
    line.request(method, path, data, {"content-type": "application/json"} if data else {})
    response = line.getresponse()
    return response.status, response.read()


def free_port() -> int:
    """A port that is free now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        return int(found.getsockname()[1])


def measure(routes: int, writes: int, workers: int) -> dict[str, float]:
    """Milliseconds of writes with that many routes in the store."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        configuration = {
            "listeners": f"127.0.0.1:{port}",
            "admin": f"unix:{folder}/admin.sock",
            "state_folder": str(folder / "state"),
            "routes": [{"path": "/", "respond": "here"}],
        }
        (folder / "gate.json").write_text(json.dumps(configuration))
        environment = {**os.environ, "HEADGATE_RUNTIME_DIR": str(folder)}
        command = [str(HEADGATE), "run", str(folder / "gate.json"), "--workers", str(workers)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            return _measured(folder, port, routes, writes)
        finally:
            process.terminate()
            process.wait()


def _measured(folder: Path, port: int, routes: int, writes: int) -> dict[str, float]:
    admin = Unix(f"{folder}/admin.sock")
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    if routes:
        many = {f"r{n}": {"path": f"/service-{n}/*", "respond": f"{n}"} for n in range(routes)}
        status, body = ask(admin, "POST", "/v1/import", {"resources": {"routes": many}})
        assert status == 200, body
    lines = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    taken = []
    for number in range(writes):
        begun = time.perf_counter()
        status, body = ask(admin, "PUT", "/v1/routes/one", {"path": "/one", "respond": f"change {number}"})
        taken.append((time.perf_counter() - begun) * 1000)
        assert status in (200, 201), body
        for line in lines:
            assert ask(line, "GET", "/one") == (200, f"change {number}".encode())
    taken.sort()
    for line in (admin, *lines):
        line.close()
    return {"median": statistics.median(taken), "p95": taken[int(len(taken) * 0.95)], "longest": taken[-1]}


def main() -> None:
    """Prints a line of Markdown for each number of routes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--routes", type=int, nargs="+", default=[0, 10_000])
    parser.add_argument("--writes", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    print("| routes | median | p95 | longest |\n|---|---|---|---|")
    for routes in given.routes:
        found = measure(routes, given.writes, given.workers)
        print(
            f"| {routes} | "
            + " | ".join(f"{found[key]:.1f} ms" for key in ("median", "p95", "longest"))
            + " |"
        )


if __name__ == "__main__":
    main()
