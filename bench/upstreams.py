"""What an upstream does in the face of one bad server, beside nginx, HAProxy and Envoy, and what 4,096 servers cost.

    python bench/upstreams.py slow [--seconds 6] [--rate 300]
    python bench/upstreams.py killed [--seconds 5] [--rate 2000]
    python bench/upstreams.py many [--seconds 3] [--rounds 5]

`slow`: one of ten servers takes 500 ms, the others 5 ms; requests come at a steady rate, and the 50th and 99th
percentile of their times are printed. `killed`: one of ten is killed with SIGKILL while GETs come at a steady rate; how
many fail. `many`: processor time of the gateway for a request with one server and with 4,096, all of which are used, in
interleaved rounds; the medians, and how much of the difference is the gateway's own: the rest is the kernel's, whose
4,096 connections are no longer in the processor's caches. Gateways that are not installed are left out; Envoy is looked
for in `$HEADGATE_LAB/peers/bin` too.
"""

import argparse
import asyncio
import contextlib
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from socket import create_server

from lab.balancers import envoy, haproxy, headgate, nginx

SERVERS = 10
MANY = 4096
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
BALANCES = ("round_robin", "least_conn", "least_time", "p2c")


def free_port() -> int:
    """A port that nobody listens on, most probably."""
    with create_server(("127.0.0.1", 0)) as made:
        port: int = made.getsockname()[1]
        return port


# ---- servers


async def _respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(delay_s)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def serve(ports: list[int], slow_s: float) -> None:
    """Serves at all of these; the first takes so long, the others 5 ms."""
    for position, port in enumerate(ports):
        delay_s = 0.005 if position else slow_s
        await asyncio.start_server(lambda r, w, s=delay_s: _respond(r, w, s), "127.0.0.1", port)
    await asyncio.Event().wait()


NGINX_SERVER = """
daemon off; master_process off; worker_rlimit_nofile 20000; pid {folder}/{port}.pid; error_log {folder}/{port}.log;
events {{ worker_connections 9000; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 10000000;
  server {{ listen 0.0.0.0:{port} backlog=4096; location / {{ return 200 ok; }} }}
}}
"""


@contextlib.contextmanager
def started(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process, and all that it starts, in a group of its own."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextlib.contextmanager
def nginx_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """An nginx that responds at once."""
    file = folder / f"server-{port}.conf"
    file.write_text(NGINX_SERVER.format(folder=folder, port=port))
    with started(folder, "nginx", "-c", str(file)) as process:
        yield process


# ---- load


@dataclass
class Seen:
    """What came of the requests."""

    times_ms: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Of the times, failures apart."""
        times = sorted(self.times_ms)
        return times[min(len(times) - 1, int(len(times) * share))]


class Client:
    """Sends requests at moments that do not depend on responses, on connections that are kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.seen = Seen()

    async def run(self, rate: int, seconds: float) -> Seen:
        """All of them."""
        loop = asyncio.get_running_loop()
        began_s, running = loop.time(), set[asyncio.Task[None]]()
        for number in range(int(rate * seconds)):
            if (wait_s := began_s + number / rate - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            running.add(task := asyncio.ensure_future(self._one()))
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        return self.seen

    async def _one(self) -> None:
        began_s = time.perf_counter()
        try:
            async with asyncio.timeout(20):
                pair = (
                    self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
                )
                pair[1].write(b"GET / HTTP/1.1\r\nHost: bench.test\r\n\r\n")
                head = (await pair[0].readuntil(b"\r\n\r\n")).decode().lower()
                length = re.search(r"content-length: (\d+)", head)
                await pair[0].readexactly(int(length[1]) if length else 0)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            return self.seen.failed.append(type(error).__name__)
        if not head.startswith("http/1.1 200"):
            self.seen.failed.append(head[9:12])
            return pair[1].close()
        self.seen.times_ms.append((time.perf_counter() - began_s) * 1000)
        return self._idle.append(pair)


def await_gateway(port: int, folder: Path) -> None:
    """Until a request succeeds."""
    for _ in range(200):
        if not asyncio.run(Client(port).run(1, 1)).failed:
            return
        time.sleep(0.1)
    sys.exit(f"nothing is served: {(folder / 'log').read_text()[-2000:]}")


@contextlib.contextmanager
def quietly(folder: Path, command: list[str], port: int) -> Iterator[int | None]:
    """A gateway that serves; its group, or None if it is not installed."""
    if not shutil.which(command[0]):
        print(f"{command[0]} is not installed", file=sys.stderr)
        yield None
        return
    with started(folder, *command) as process:
        await_gateway(port, folder)
        yield process.pid


# ---- what is measured


def slow(folder: Path, seconds: float, rate: int) -> None:
    """See the module."""
    ports = [free_port() for _ in range(SERVERS)]
    servers = [f"127.0.0.1:{port}" for port in ports]
    ways: dict[str, tuple[int, list[str]]] = {}
    for balance in BALANCES:
        port = free_port()
        ways[f"headgate {balance}"] = port, headgate(folder, port, servers, balance=balance)
    for choice in ("leastconn", "random(2)"):
        port = free_port()
        ways[f"HAProxy {choice}"] = port, haproxy(folder, port, servers, choice)
    port = free_port()
    ways["Envoy LEAST_REQUEST"] = port, envoy(folder, port, servers, "LEAST_REQUEST")
    with started(folder, sys.executable, __file__, "serve", *map(str, ports)):
        for name, (port, command) in ways.items():
            with quietly(folder, command, port) as group:
                if group is None:
                    continue
                asyncio.run(Client(port).run(rate, 2))  # what a balancer learns from
                seen = asyncio.run(Client(port).run(rate, seconds))
                print(
                    f"{name:24} p50 {seen.percentile(0.5):7.1f} ms   p99 {seen.percentile(0.99):7.1f} ms   "
                    f"failed {len(seen.failed)} of {int(rate * seconds)}"
                )


def killed(folder: Path, seconds: float, rate: int) -> None:
    """See the module."""
    for name, command in (("headgate", headgate), ("nginx", nginx), ("HAProxy", haproxy), ("Envoy", envoy)):
        with contextlib.ExitStack() as stack:
            ports = [free_port() for _ in range(SERVERS)]
            processes = [stack.enter_context(nginx_server(folder, port)) for port in ports]
            port = free_port()
            words = command(folder, port, [f"127.0.0.1:{one}" for one in ports])
            if stack.enter_context(quietly(folder, words, port)) is None:
                continue

            async def both(victim: subprocess.Popen[bytes], port: int) -> Seen:
                loop = asyncio.get_running_loop()
                loop.call_later(seconds / 2, victim.kill)
                return await Client(port).run(rate, seconds)

            seen = asyncio.run(both(processes[3], port))
            kinds = ", ".join(sorted(set(seen.failed)))
            print(
                f"{name:10} failed {len(seen.failed)} of {int(rate * seconds)} {kinds:24} "
                f"p99 {seen.percentile(0.99):6.1f} ms   longest {max(seen.times_ms):7.1f} ms"
            )


def processor_s(group: int) -> tuple[float, float]:
    """The processor time of a group of processes: their own, and the kernel's."""
    own = kernel = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                own, kernel = own + int(fields[11]), kernel + int(fields[12])
    return own * TICK_S, kernel * TICK_S


def many(folder: Path, seconds: float, rounds: int) -> None:
    """See the module."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = free_port()
    addresses = [f"127.0.{n // 250}.{n % 250 + 1}:{server}" for n in range(MANY)]
    ways: dict[str, Callable[[int, list[str]], list[str]]] = {
        "round_robin": partial(headgate, folder, balance="round_robin"),
        "p2c": partial(headgate, folder, balance="p2c"),
        "nginx": partial(nginx, folder),
        "HAProxy": partial(haproxy, folder, check=""),
    }
    costs: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(nginx_server(folder, server))
        gateways = []
        for name, command in ways.items():
            for count in (1, MANY):
                port = free_port()
                group = stack.enter_context(quietly(folder, command(port, addresses[:count]), port))
                if group is not None:
                    load(port, 3)  # every server has a connection
                    gateways.append((name, count, port, group))
        for _ in range(rounds):
            for name, count, port, group in gateways:
                before = processor_s(group)
                requests = load(port, seconds)
                own_us, kernel_us = (
                    (now - then) / requests * 1e6
                    for now, then in zip(processor_s(group), before, strict=True)
                )
                costs.setdefault((name, count), []).append((own_us, kernel_us))
    for name in dict.fromkeys(name for name, _ in costs):
        (own, kernel), (own_all, kernel_all) = (
            [statistics.median(column) for column in zip(*costs[name, count], strict=True)]
            for count in (1, MANY)
        )
        print(
            f"{name:12} {own + kernel:6.2f} us with one server, {own_all + kernel_all:6.2f} us with {MANY}: "
            f"own part {own_all - own:+.2f} us, the kernel's {kernel_all - kernel:+.2f} us"
        )


def load(port: int, seconds: float) -> int:
    """How many requests wrk has sent; ends the run if one failed."""
    command = ["wrk", "-t1", "-c16", f"-d{seconds:g}s", f"http://127.0.0.1:{port}/"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(out)
    found = re.search(r"(\d+) requests in", out)
    assert found, out
    return int(found[1])


def main() -> None:
    """See the module."""
    if sys.argv[1:2] == ["serve"]:
        return asyncio.run(serve([int(one) for one in sys.argv[2:]], 0.5))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("slow", "killed", "many"))
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rate", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as made:
        folder = Path(made)
        if given.what == "slow":
            slow(folder, given.seconds or 6, given.rate or 300)
        elif given.what == "killed":
            killed(folder, given.seconds or 5, given.rate or 2000)
        else:
            many(folder, given.seconds or 3, given.rounds)
    return None


if __name__ == "__main__":
    main()
