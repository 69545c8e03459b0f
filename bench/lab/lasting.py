"""Scenarios about a whole life: a million requests, a thousand that wait, and how soon the first response comes."""

import http.client
import json
import os
import shlex
import subprocess
import sys
import threading
import time

from . import cost
from .load import h2load, one
from .measure import Figures
from .place import GATEWAY_CPU, RUN
from .proxies import Proxy
from .scenarios import Scenario

WARM_UP = 100_000
"""Of the million requests so many go before memory is looked at first."""


def million(proxy: Proxy, seconds: float) -> Figures:
    proxy.restart({"plain"})
    port = proxy.ports["plain"]
    url = f"http://127.0.0.1:{port}/5k"
    first, _ = h2load(url, "--h1", "-n", WARM_UP, "-c100")
    early = cost.memory(proxy.pids(port))
    rest, _ = h2load(url, "--h1", "-n", 1_000_000 - WARM_UP, "-c100")
    late = cost.memory(proxy.pids(port))
    sent = {"n": first["n"] + rest["n"], "errors": first["errors"] + rest["errors"]}
    return {"grown": late - early, "base": early} | sent


def million_hooked(proxy: Proxy, seconds: float, role: str) -> Figures:
    """Of each ten requests six are GETs, three POSTs, and one is a GET on a connection of its own."""
    proxy.restart({role})
    port = proxy.ports[role]
    (RUN / "small-body").write_bytes(b"x" * 1000)

    def send(count: int) -> Figures:
        seen: Figures = {"n": 0, "bad": 0, "broken": 0}
        for share, path, more in (
            (6, "/5k", ()),
            (3, "/post", ("-d", str(RUN / "small-body"))),
            (1, "/5k", ("-H", "connection: close")),
        ):
            _, out = h2load(
                f"http://127.0.0.1:{port}{path}", "--h1", "-n", count * share // 10, "-c100", *more
            )
            seen["n"] += int(one(r"(\d+) done", out))
            seen["bad"] += int(one(r"(\d+) 5xx", out))
            seen["broken"] += int(one(r"(\d+) errored", out)) + int(one(r"(\d+) timeout", out))
            seen["broken"] += int(one(r" (\d+) 3xx", out)) + int(one(r" (\d+) 4xx", out))
        return seen

    first = send(WARM_UP)
    early = cost.memory(proxy.pids(port))
    rest = send(1_000_000 - WARM_UP)
    late = cost.memory(proxy.pids(port))
    told = json.loads(body_of(port, "/raised"))
    sent = {name: first[name] + rest[name] for name in first}
    harmed = sent["bad"] - told["failed"] + sent["broken"]
    return {"grown": late - early, "base": early, "harmed": harmed, "raised": told["raised"], "n": sent["n"]}


def body_of(port: int, path: str) -> bytes:
    """The body of one response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body


def waiting(proxy: Proxy, seconds: float, role: str, count: int) -> Figures:
    """The memory of requests that wait in a hook, each with its connection: the most seen while all do."""
    proxy.restart({role})
    port = proxy.ports[role]
    h2load(f"http://127.0.0.1:{port}/", "--h1", "-n", 20, "-c20")
    time.sleep(1)
    pids = proxy.pids(port)
    before = cost.memory(pids)
    seen_memory, done = [before], threading.Event()

    def sample() -> None:
        while not done.wait(0.1):
            seen_memory.append(cost.memory(pids))

    thread = threading.Thread(target=sample)
    thread.start()
    seen, _ = h2load(f"http://127.0.0.1:{port}/", "--h1", "-n", 6 * count, f"-c{count}")
    done.set()
    thread.join()
    grown = max(seen_memory) - before
    return {"kb": grown * 1024 / count, "base": before, "n": seen["n"], "errors": seen["errors"]}


def seconds_to_run(*command: str) -> float:
    """How long a command takes, pinned like the gateways."""
    start = time.perf_counter()
    subprocess.run(["taskset", "-c", str(GATEWAY_CPU), *command], check=True)
    return time.perf_counter() - start


def seconds_to_response(command: str, port: int) -> float:
    """How long it takes from starting a command to a response on its port; then stops it."""
    start = time.perf_counter()
    process = subprocess.Popen(
        ["taskset", "-c", str(GATEWAY_CPU), *shlex.split(command)], env=dict(os.environ)
    )
    try:
        while time.perf_counter() < start + 30:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", "/5k")
                if connection.getresponse().status == 200:
                    return time.perf_counter() - start
            except OSError:
                time.sleep(0.002)
            finally:
                connection.close()
        raise RuntimeError(f"no response from `{command}`")
    finally:
        process.terminate()
        process.wait()


def cold_start(proxy: Proxy, seconds: float, command: str, port: int) -> Figures | None:
    if proxy.name != "headgate":
        return None
    imports = seconds_to_run(sys.executable, "-c", "import pydantic, typer")
    took = seconds_to_response(command, port)
    return {"took": took * 1e3, "imports": imports * 1e3, "ratio": took / imports}


def lasting(proxy_command: str, port: int) -> list[Scenario]:
    """These scenarios; `proxy_command` is a gateway's without a file, listening on `port`."""
    return [
        Scenario(
            "million",
            "1,000,000 requests (5 KB) at 100 connections: failed ones, and memory growth (PSS) after the first "
            "100,000.",
            million,
            {"5k": {}},
            {"grown": "*1", "base": "1", "n": "0", "errors": "0"},
            rounds=1,
        ),
        Scenario(
            "million-hooked",
            "1,000,000 requests with hooks in every phase, one in a hundred of which raises in one of them: requests "
            "harmed that should not have been, and memory growth (PSS) after the first 100,000.",
            million_hooked,
            {"every phase": {"role": "phases"}},
            {"grown": "*1", "base": "1", "harmed": "0", "raised": "0", "n": "0"},
            rounds=1,
            peers=(),
        ),
        Scenario(
            "waiting",
            "1,000 requests that each wait in `await asyncio.sleep(1)`, over and over: memory (PSS, KB) of each.",
            waiting,
            {"1000": {"role": "waiting", "count": 1000}},
            {"kb": "*1", "base": "1", "n": "0", "errors": "0"},
            rounds=1,
            peers=(),
        ),
        Scenario(
            "cold-start",
            "From starting `headgate proxy` to its first response, beside `python -c 'import pydantic, typer'`.",
            cold_start,
            {"proxy": {"command": proxy_command, "port": port}},
            {"took": "*0", "imports": "*0", "ratio": "*2"},
        ),
    ]
