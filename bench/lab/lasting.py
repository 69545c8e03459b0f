"""Scenarios about a gateway's whole life: a million requests, and how soon it gives its first answer."""

import http.client
import os
import shlex
import subprocess
import sys
import time

from . import cost
from .load import h2load
from .measure import Figures
from .place import GATEWAY_CPU
from .proxies import Proxy
from .scenarios import Scenario


def million(proxy: Proxy, seconds: float) -> Figures:
    proxy.restart({"plain"})
    port = proxy.ports["plain"]
    url = f"http://127.0.0.1:{port}/5k"
    first, _ = h2load(url, "--h1", "-n", 100_000, "-c100")
    early = cost.memory(proxy.pids(port))
    rest, _ = h2load(url, "--h1", "-n", 900_000, "-c100")
    late = cost.memory(proxy.pids(port))
    sent = {"n": first["n"] + rest["n"], "errors": first["errors"] + rest["errors"]}
    return {"grown": late - early, "base": early} | sent


def seconds_to_run(*command: str) -> float:
    """How long a command takes, pinned like the gateways."""
    start = time.perf_counter()
    subprocess.run(["taskset", "-c", str(GATEWAY_CPU), *command], check=True)
    return time.perf_counter() - start


def seconds_to_answer(command: str, port: int) -> float:
    """How long it takes from starting a command to an answer on its port; then stops it."""
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
        raise RuntimeError(f"no answer from `{command}`")
    finally:
        process.terminate()
        process.wait()


def cold_start(proxy: Proxy, seconds: float, command: str, port: int) -> Figures | None:
    if proxy.name != "headgate":
        return None
    imports = seconds_to_run(sys.executable, "-c", "import pydantic, typer")
    took = seconds_to_answer(command, port)
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
            "cold-start",
            "From starting `headgate proxy` to its first answer, beside `python -c 'import pydantic, typer'`.",
            cold_start,
            {"proxy": {"command": proxy_command, "port": port}},
            {"took": "*0", "imports": "*0", "ratio": "*2"},
        ),
    ]
