"""Changes at run time under load: a thousand of them in a minute, beside a minute without any.

    bench/changes.py [--seconds 60] [--changes 1000] [--workers 2] [--connections 50]

`wrk` loads the gateway as fast as it can, first without changes, then with as many, spread evenly, then without again.
Each change is a PUT of a route to the Admin API, which responds when it is in force in every worker. A request that got
another status than 200, or none, has failed.
"""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from e2e.kit.admin import Admin  # noqa: E402
from e2e.kit.gateway import RunningGateway  # noqa: E402
from options import parsed_options  # noqa: E402

UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


def loaded(port: int, seconds: float, connections: int) -> dict[str, float]:
    """What wrk says: requests a second, p99 and the longest in milliseconds, and what failed."""
    program = shutil.which("wrk")
    if program is None:
        sys.exit("no wrk here\n  hint: tools/services.sh --bench")
    command = [
        program,
        "-t1",
        f"-c{connections}",
        f"-d{seconds:g}",
        "--latency",
        f"http://127.0.0.1:{port}/kept",
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def number(pattern: str) -> float:
        found = re.search(pattern, said)
        return (
            float(found[1]) * UNITS_MS.get(found[2] if found.lastindex == 2 else "ms", 1.0) if found else 0.0
        )

    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return {
        "rate": number(r"Requests/sec:\s+([\d.]+)"),
        "p99_ms": number(r"99%\s+([\d.]+)(\w+)"),
        "longest_ms": number(r"Latency\s+\S+\s+\S+\s+([\d.]+)(\w+)"),
        "failed": number(r"Non-2xx or 3xx responses: (\d+)")
        + sum(map(float, errors.groups() if errors else ())),
    }


def change(address: str, changes: int, seconds: float, taken_ms: list[float]) -> None:
    """Puts routes, evenly over the time."""
    admin = Admin(address)
    begun = time.monotonic()
    for number in range(changes):
        time.sleep(max(0.0, begun + seconds * number / changes - time.monotonic()))
        put_at = time.monotonic()
        put = admin.put(f"/v1/routes/r{number % 50}", {"path": f"/r{number % 50}", "respond": f"{number}"})
        assert put.status in (200, 201), put
        taken_ms.append((time.monotonic() - put_at) * 1000)


def row(name: str, found: dict[str, float], taken_ms: list[float]) -> str:
    """A line of the table."""
    median = f"{sorted(taken_ms)[len(taken_ms) // 2]:.1f}" if taken_ms else "-"
    numbers = (
        f"{found['rate']:.0f} | {found['p99_ms']:.2f} | {found['longest_ms']:.1f} | {found['failed']:.0f}"
    )
    return f"| {name} | {numbers} | {len(taken_ms)} | {median} |"


def main() -> None:
    """The program."""
    given = parsed_options(__doc__, seconds=60.0, changes=1000, workers=2, connections=50)
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        description = {
            "admin": f"unix:{folder}/admin.sock",
            "state_folder": str(folder / "state"),
            "routes": [{"path": "/", "respond": "here"}, {"path": "/kept", "respond": "kept"}],
        }
        gateway = RunningGateway(folder, json.loads(json.dumps(description)), workers=given.workers)
        gateway.start()
        stack.callback(gateway.kill)
        port = int(str(gateway.address).rpartition(":")[2])
        print("| | requests a second | p99, ms | longest, ms | failed | changes | median change, ms |")
        print("|---|---|---|---|---|---|---|")
        for kind, changes in (("none before", 0), ("with changes", given.changes), ("none after", 0)):
            taken_ms: list[float] = []
            arguments = (f"unix:{folder}/admin.sock", changes, given.seconds, taken_ms)
            changing = threading.Thread(target=change, args=arguments)
            changing.start()
            found = loaded(port, given.seconds, given.connections)
            changing.join()
            print(row(kind, found, taken_ms), flush=True)
        gateway.stop()


if __name__ == "__main__":
    main()
