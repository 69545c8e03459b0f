"""What pull dispatch is worth where requests take 5 ms or 5 s: by simulation, and with real processes.

    python bench/pull.py simulate [--jobs 200000] [--plot docs/guide/images/pull.svg]
    python bench/pull.py run [--seconds 60]
    python bench/pull.py cost [--requests 2000]

Requests come at random (Poisson), their work is between 5 ms and 5 s with a heavy tail (Pareto, bounded, exponent 0.5),
and 8 servers do one at a time, at 80 % load. `run` sends the same requests at the same moments to gateways that differ
in `balance` only. `cost` is what the dispatcher itself uses for a request, and adds to its time.
"""

import argparse
import asyncio
import heapq
import json
import math
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HEADGATE = Path(os.environ.get("HEADGATE_COMMAND") or Path(sys.executable).parent / "headgate")
SERVERS, LOAD = 8, 0.8
SHORTEST_S, LONGEST_S = 0.005, 5.0
MEAN_S = math.sqrt(SHORTEST_S * LONGEST_S)
RATE = LOAD * SERVERS / MEAN_S
POLICIES = ("round_robin", "least_conn", "p2c", "pull")
COLOURS = {"round_robin": "#c0392b", "least_conn": "#d68910", "p2c": "#7d3c98", "pull": "#1e8449"}
TOKEN = "0123456789abcdef0123456789abcdef"

Job = tuple[float, float]
"""When it comes, and how long it takes, in seconds."""


def jobs(chance: random.Random) -> Iterator[Job]:
    """Requests without end."""
    now_s = 0.0
    while True:
        now_s += chance.expovariate(RATE)
        u = chance.random()
        yield now_s, SHORTEST_S / (1 - u * (1 - math.sqrt(SHORTEST_S / LONGEST_S))) ** 2


# ---- simulation


def simulated(policy: str, count: int) -> list[float]:
    """The times from arrival to completion, in seconds."""
    source, chance = jobs(random.Random(1)), random.Random(2)
    free_s = [0.0] * SERVERS  # when each has done what it has
    if policy == "pull":
        heapq.heapify(free_s)
        return [_pulled(free_s, *next(source)) for _ in range(count)]
    endings: list[deque[float]] = [deque() for _ in range(SERVERS)]
    times, turn = [], 0
    for _ in range(count):
        now_s, work_s = next(source)
        for one in endings:
            while one and one[0] <= now_s:
                one.popleft()
        if policy == "round_robin":
            turn = (turn + 1) % SERVERS
            chosen = turn
        elif policy == "least_conn":
            fewest = min(map(len, endings))
            chosen = chance.choice([at for at, one in enumerate(endings) if len(one) == fewest])
        else:
            chosen = min(chance.sample(range(SERVERS), 2), key=lambda at: len(endings[at]))
        free_s[chosen] = max(free_s[chosen], now_s) + work_s
        endings[chosen].append(free_s[chosen])
        times.append(free_s[chosen] - now_s)
    return times


def _pulled(free_s: list[float], now_s: float, work_s: float) -> float:
    done_s = max(heapq.heappop(free_s), now_s) + work_s
    heapq.heappush(free_s, done_s)
    return done_s - now_s


# ---- real processes


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


SERVER = """
import asyncio, sys
async def main():
    busy = asyncio.Lock()
    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\\r\\n\\r\\n")
                async with busy:
                    await asyncio.sleep(float(head.split(b" ")[1].partition(b"?")[2]))
                writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
    await (await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))).serve_forever()
asyncio.run(main())
"""
WORKER = """
import asyncio
from headgate import Response
async def serve(job):
    await asyncio.sleep(float(job.target.partition("?")[2]))
    return Response(200, b"")
"""


@contextmanager
def gateway(policy: str, folder: Path) -> Iterator[tuple[int, int]]:
    """A gateway with its servers; its port, and its process id."""
    port, processes = free_port(), []
    environment = {**os.environ, "HEADGATE_STATE_DIR": str(folder), "HEADGATE_RUNTIME_DIR": str(folder)}
    ports = [free_port() for _ in range(SERVERS)]
    upstream: dict[str, object] = {"balance": policy}
    if policy == "pull":
        upstream["pull"] = {"tokens": TOKEN, "status_path": "/queue", "wait": "600s", "queue": 100_000}
    else:
        upstream["servers"] = [f"127.0.0.1:{one}" for one in ports]
    upstream["timeouts"] = {"upstream_head": "600s"}
    file = folder / "gate.json"
    routes = [{"path": "/*", "to": "u"}]
    file.write_text(
        json.dumps({"listeners": f"127.0.0.1:{port}", "upstreams": {"u": upstream}, "routes": routes})
    )
    (folder / "handlers.py").write_text(WORKER)
    try:
        if policy != "pull":
            for one in ports:
                processes.append(subprocess.Popen([sys.executable, "-c", SERVER, str(one)]))
        run = [str(HEADGATE), "run", str(file), "--workers", "1"]
        processes.append(serving := subprocess.Popen(run, env=environment, cwd=folder))
        if policy == "pull":
            command = [str(HEADGATE), "pull", "worker", "handlers:serve", "--processes", str(SERVERS)]
            command += ["--to", f"http://127.0.0.1:{port}/w", "--token", TOKEN]
            processes.append(subprocess.Popen(command, cwd=folder))
        asyncio.run(ready(port, policy))
        yield port, serving.pid
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            process.wait()


async def ready(port: int, policy: str) -> None:
    """Waits until all servers serve."""
    while True:
        try:
            if policy != "pull":
                if all([b" 200 " in await asked(port, "/?0.001") for _ in range(2 * SERVERS)]):
                    return
            elif (await figures(port))["idle"] == SERVERS:
                return
        except (OSError, ValueError, LookupError):
            pass
        await asyncio.sleep(0.2)


async def figures(port: int) -> dict[str, int]:
    """Those of the queue."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /queue HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    told: dict[str, int] = json.loads(text)
    return told


async def asked(port: int, target: str) -> bytes:
    """One request on a connection of its own; the status line of its response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    response = await reader.read()
    writer.close()
    return response.partition(b"\r\n")[0]


async def loaded(port: int, seconds: float) -> list[float]:
    """The times of the requests that come within so many seconds."""
    times: list[float] = []
    began_s, tasks = time.monotonic() + 0.5, set()

    async def one(due_s: float, target: str) -> None:
        status = await asked(port, target)
        if b" 200 " not in status:
            raise RuntimeError(f"a request has failed: {status!r}")
        times.append(time.monotonic() - due_s)

    for at_s, work_s in jobs(random.Random(1)):
        if at_s > seconds:
            break
        await asyncio.sleep(began_s + at_s - time.monotonic())
        tasks.add(asyncio.ensure_future(one(began_s + at_s, f"/?{work_s:.4f}")))
    await asyncio.gather(*tasks)
    return times


# ---- what the dispatcher costs


def cpu_s(process: int) -> float:
    """What a process has used of the CPU."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cost(requests: int) -> None:
    """Requests without work, one after another on one connection."""

    async def measured(port: int) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        times = []
        for _ in range(requests):
            began_s = time.perf_counter()
            writer.write(b"GET /?0 HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            times.append(time.perf_counter() - began_s)
        writer.close()
        return statistics.median(times)

    for policy in ("round_robin", "pull"):
        with tempfile.TemporaryDirectory() as name, gateway(policy, Path(name)) as (port, supervisor):
            told = subprocess.check_output(
                [str(HEADGATE), "status", "--json", "--pid", str(supervisor), "--runtime-dir", name]
            )
            dispatcher = json.loads(told).get("dispatcher")
            before_s = cpu_s(dispatcher) if dispatcher else 0.0
            median_s = asyncio.run(measured(port))
            used_s = (cpu_s(dispatcher) if dispatcher else 0.0) - before_s
            print(
                f"{policy}: median {median_s * 1e6:.0f} us, dispatcher {used_s / requests * 1e6:.0f} us CPU"
            )


# ---- results


def at(times: list[float], share: float) -> float:
    """The time that so large a share of the requests is not slower than."""
    return sorted(times)[min(int(share * len(times)), len(times) - 1)]


def table(every: dict[str, list[float]]) -> str:
    """Mean, median and p99 in milliseconds, and p99 over that of round-robin."""
    base = at(every["round_robin"], 0.99)
    lines = [
        "| policy | requests | mean, ms | p50 | p99 | p99 over round-robin's |",
        "|---|---|---|---|---|---|",
    ]
    for policy, times in every.items():
        p50, p99 = (1000 * at(times, share) for share in (0.5, 0.99))
        mean = 1000 * statistics.mean(times)
        lines.append(
            f"| `{policy}` | {len(times)} | {mean:.0f} | {p50:.0f} | {p99:.0f} | {p99 / base / 1000:.2f} |"
        )
    return "\n".join(lines)


def plot(every: dict[str, list[float]]) -> str:
    """The share of requests slower than a time, both logarithmic, as SVG."""
    left, top, width, height = 60, 20, 560, 300

    def x(time_s: float) -> float:
        return left + width * math.log10(max(time_s, 0.005) / 0.005) / math.log10(100 / 0.005)

    def y(share: float) -> float:
        return top + height * -math.log10(max(share, 1e-4)) / 4

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 20} {top + height + 50}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{left + width + 20}" height="{top + height + 50}" fill="white"/>',
    ]
    for time_s in (0.01, 0.1, 1, 10, 100):
        parts.append(f'<path d="M{x(time_s):.1f} {top}v{height}" stroke="#ddd"/>')
        label = f"{time_s:g} s"
        parts.append(f'<text x="{x(time_s):.1f}" y="{top + height + 16}" text-anchor="middle">{label}</text>')
    for power in range(5):
        share = 10**-power
        parts.append(f'<path d="M{left} {y(share):.1f}h{width}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{left - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{100 * share:g} %</text>'
        )
    middle = left + width / 2
    parts.append(f'<text x="{middle}" y="{top + height + 38}" text-anchor="middle">slower than</text>')
    for number, (policy, times) in enumerate(every.items()):
        known, points = sorted(times), []
        for step in range(161):
            share = 10 ** (-step / 40)
            points.append(
                f"{x(known[min(int((1 - share) * len(known)), len(known) - 1)]):.1f},{y(share):.1f}"
            )
        colour = COLOURS[policy]
        parts.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        place = f'x="{left + width - 110}" y="{top + 20 + 18 * number}"'
        parts.append(f'<text {place} fill="{colour}" font-weight="bold">{policy}</text>')
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    """Reads the arguments, measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("simulate", "run", "cost"))
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    if given.what == "cost":
        return cost(given.requests)
    every = measured(given.what, given.jobs, given.seconds)
    print(table(every))
    if given.plot:
        given.plot.write_text(plot(every))
    return None


def measured(what: str, count: int, seconds: float) -> dict[str, list[float]]:
    """The times by policy."""
    if what == "simulate":
        return {policy: simulated(policy, count) for policy in POLICIES}
    every = {}
    for policy in POLICIES:
        with tempfile.TemporaryDirectory() as name, gateway(policy, Path(name)) as (port, _):
            every[policy] = asyncio.run(loaded(port, seconds))
    return every


if __name__ == "__main__":
    main()
