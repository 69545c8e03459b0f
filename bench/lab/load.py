"""Load generators, pinned to the load's CPU: wrk, h2load, and the clients of clients.py."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .place import LOAD_CPU, RUN

MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}
USER = ("X-User: me",)


def environment() -> dict[str, str]:
    """What the load tools see: one TLS cipher and group for all."""
    return os.environ | {"OPENSSL_CONF": str(RUN / "client.cnf")}


def run(*command: object) -> str:
    """Runs a tool on the load's CPU and returns what it printed."""
    pinned = ["taskset", "-c", str(LOAD_CPU), *map(str, command)]
    return subprocess.run(pinned, capture_output=True, text=True, env=environment()).stdout


def client(*arguments: object) -> subprocess.Popen[str]:
    """Starts clients.py; it says `ready` on stdout and goes away when its stdin closes."""
    command = [sys.executable, str(Path(__file__).with_name("clients.py")), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that a client prints."""
    assert process.stdout is not None  # client() opened the pipe
    return process.stdout.readline()


def milliseconds(text: str) -> float:
    """wrk's and h2load's `1.23ms`, `850us`, `1.02s` in milliseconds."""
    found = re.fullmatch(r"(-?[\d.]+)([a-z]+)", text)
    if not found:
        raise ValueError(f"not a time: {text}")
    return float(found[1]) * MILLISECONDS[found[2]]


def one(pattern: str, text: str) -> str:
    """The first group of a pattern that the tool's output must have."""
    found = re.search(pattern, text, re.M)
    if not found:
        raise RuntimeError(f"no `{pattern}` in: {text}")
    return found[1]


def wrk(
    url: str, connections: int, seconds: float, script: Path | None = None, headers: Sequence[str] = USER
) -> Mapping[str, float]:
    """One wrk run: requests, seconds, p50 and p99 in ms, errors (of sockets, and responses other than 2xx or 3xx)."""
    command: list[object] = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"]
    for header in headers:
        command += ["-H", header]
    out = run(*command, *(["-s", script] if script else []), url)
    bad = re.search(r"Non-2xx.*: (\d+)", out)
    socket_errors = re.search(r"Socket errors.*", out)
    errors = int(bad[1]) if bad else 0
    errors += sum(map(int, re.findall(r"\d+", socket_errors[0]))) if socket_errors else 0
    return {
        "n": int(one(r"(\d+) requests in +[\d.]+[a-z]+", out)),
        "seconds": milliseconds(one(r"\d+ requests in +([\d.]+[a-z]+)", out)) / 1e3,
        "p50": milliseconds(one(r"^ +50% +(\S+)", out)),
        "p99": milliseconds(one(r"^ +99% +(\S+)", out)),
        "errors": errors,
    }


def h2load(url: str, *options: object) -> tuple[dict[str, float], str]:
    """One h2load run with a log of every request: n, errors, mean, p50 and p99 in ms; and its output."""
    log = RUN / "h2load.log"
    log.unlink(missing_ok=True)
    out = run("h2load", *options, f"--log-file={log}", url)
    took = sorted(int(line.split("\t")[2]) / 1e3 for line in log.read_text().splitlines())
    figures = {
        "n": float(one(r"(\d+) succeeded", out)),
        "errors": float(one(r"(\d+) failed", out)) + float(one(r"(\d+) errored", out)),
        "mean": sum(took) / len(took),
        "p50": took[len(took) // 2],
        "p99": took[int(len(took) * 0.99)],
    }
    return figures, out
