"""Scenarios about connections, latency and system calls."""

import json
import re
import subprocess
import threading
import time

from . import cost
from .load import client, h2load, line_of, one, run, wrk
from .measure import Figures, Meter, load
from .place import RUN
from .proxies import Proxy
from .scenarios import NOISE, Scenario


def handshakes(proxy: Proxy, seconds: float, role: str) -> Figures:
    with Meter(proxy, proxy.ports[role]) as meter:
        new = ("-new", "-tls1_3", "-time", int(seconds), "-no-CAfile", "-no-CAstore", "-no-CApath")
        out = run("openssl", "s_time", *new, "-connect", f"127.0.0.1:{proxy.ports[role]}")
    n = int(one(r"(\d+) connections in \d+ real", out))
    return meter.per(n) | {"percpu": n / max(meter.user + meter.system, 1e-9), "hs": n / meter.seconds}


def http2(proxy: Proxy, seconds: float, role: str) -> Figures:
    port = proxy.ports[role]
    url = f"{'http' if role == 'h2c' else 'https'}://127.0.0.1:{port}/5k"
    with Meter(proxy, port) as meter:
        seen, out = h2load(url, "-c10", "-m10", "-D", int(seconds))
    if "protocol: h2" not in out:
        raise RuntimeError(f"{proxy.name} does not speak h2")
    return meter.per(seen["n"]) | {"rps": seen["n"] / seconds, "p99": seen["p99"], "errors": seen["errors"]}


def idle_memory(proxy: Proxy, seconds: float, role: str = "plain", count: int = 10_000) -> Figures:
    proxy.restart({role})
    port = proxy.ports[role]
    tls = [] if role == "plain" else ["tls"]
    warm = client("idle", port, 20, *tls)
    line_of(warm)
    warm.communicate()
    time.sleep(seconds)
    before = cost.memory(proxy.pids(port))
    holding = client("idle", port, count, *tls)
    line_of(holding)
    time.sleep(1.5 * seconds)
    established = ["ss", "-Htn", "state", "established", f"sport = :{port}"]
    held = len(subprocess.run(established, capture_output=True, text=True).stdout.splitlines())
    after = cost.memory(proxy.pids(port))
    holding.communicate()
    return {"kb": (after - before) * 1024 / max(held, 1), "base": before, "held": held}


def added_latency(proxy: Proxy, seconds: float, rate: int = 0) -> Figures:
    port = proxy.ports["plain"]
    if rate:
        with Meter(proxy, port) as meter:
            seen: Figures = json.loads(client("paced", port, "/5k", rate, seconds).communicate()[0])
    else:
        with Meter(proxy, port) as meter:
            seen, _ = h2load(f"http://127.0.0.1:{port}/5k", "--h1", "-n", 50_000, "-c100")
    return seen | meter.per(seen["n"])


def reload_under_load(proxy: Proxy, seconds: float, times: int) -> Figures | None:
    if not proxy.reload:
        return None
    refused = []

    def reload() -> None:
        for i in range(times):
            time.sleep(seconds / (times + 1))
            refused.append(not proxy.do_reload(i))

    thread = threading.Thread(target=reload)
    thread.start()
    seen = wrk(f"http://127.0.0.1:{proxy.ports['plain']}/5k", 100, seconds if times else 3)
    thread.join()
    figures = {"errors": seen["errors"], "permille": 1e3 * seen["errors"] / seen["n"], "p50": seen["p50"]}
    return figures | {"p99": seen["p99"], "rps": seen["n"] / seen["seconds"], "refused": sum(refused)}


def slow_client(proxy: Proxy, seconds: float, slow: int) -> Figures:
    proxy.restart({"plain"})
    pids = proxy.pids(proxy.ports["plain"])
    load(proxy, connections=50, seconds=1)
    before, disk = cost.memory(pids), cost.written(pids)
    reading = client("slow", proxy.ports["plain"], slow, 10240) if slow else None
    if reading:
        line_of(reading)
        time.sleep(2)
    seen_memory, done = [cost.memory(pids)], threading.Event()

    def sample() -> None:
        while not done.wait(0.5):
            seen_memory.append(cost.memory(pids))

    thread = threading.Thread(target=sample)
    thread.start()
    figures = load(proxy, connections=50, seconds=seconds)
    done.set()
    thread.join()
    if reading:
        reading.communicate()
    return figures | {"grown": max(seen_memory) - before, "disk": cost.written(pids) - disk}


def beside_jobs(proxy: Proxy, seconds: float, jobs: int, role: str, rate: int = 2000) -> Figures:
    """The latency of paced requests while all job processes compute (on the gateway's own CPU)."""
    port = proxy.ports[role]
    computing = [one_request(port, f"/burn/{seconds + 2}") for _ in range(jobs)]
    time.sleep(1)  # until they have started
    with Meter(proxy, port) as meter:
        seen: Figures = json.loads(client("paced", port, "/5k", rate, seconds).communicate()[0])
    done = sum(not process.wait() for process in computing)
    if done != jobs:
        raise RuntimeError(f"{done} of {jobs} jobs were done")
    return seen | meter.per(seen["n"]) | {"jobs": done}


def one_request(port: int, path: str) -> subprocess.Popen[bytes]:
    """One request, in a process of its own; it fails if the response is not 200."""
    return subprocess.Popen(["curl", "-sf", "-m", "60", "-o", "/dev/null", f"http://127.0.0.1:{port}{path}"])


def system_calls(proxy: Proxy, seconds: float, role: str = "plain") -> Figures:
    """What a further request costs: the difference of two runs that open the same number of connections."""
    load(proxy, role=role, connections=100, seconds=1)  # so that connections to the origin are there
    (few, fewer_calls), (many, more_calls) = traced(proxy, role, 10_000), traced(proxy, role, 40_000)
    each = {name: (n - fewer_calls.get(name, 0)) / (many - few) for name, n in more_calls.items()}
    waits = sum(n for name, n in each.items() if name.startswith(("epoll_wait", "epoll_pwait")))
    kinds = {name: each.get(name, 0.0) for name in ("epoll_ctl", "futex")}
    return {"calls": sum(each.values()) - waits, "waits": waits} | kinds


def traced(proxy: Proxy, role: str, requests: int) -> tuple[float, dict[str, int]]:
    """How many requests were served, and the system calls by name meanwhile."""
    port = proxy.ports[role]
    url = f"{'http' if role == 'plain' else 'https'}://127.0.0.1:{port}/5k"
    summary = RUN / "strace.txt"
    summary.unlink(missing_ok=True)
    attached = [option for pid in proxy.pids(port) for option in ("-p", str(pid))]
    tracer = subprocess.Popen(
        ["strace", "-f", "-c", "-o", str(summary), *attached], stderr=subprocess.DEVNULL
    )
    time.sleep(0.5)
    seen, _ = h2load(url, "--h1", "-n", requests, "-c100")
    tracer.terminate()
    tracer.wait()
    calls = {}
    for line in summary.read_text().splitlines():
        found = re.fullmatch(r" *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)", line)
        if found and found[2] != "total":
            calls[found[2]] = int(found[1])
    return seen["n"], calls


LATENCY = {
    "mean": "2",
    "p50": "2",
    "p99": "2",
    "add_mean": "*2",
    "add_p50": "*2",
    "add_p99": "*2",
    "us": "*1",
}
SPECIAL = [
    Scenario(
        "tls-handshakes",
        "Full TLS 1.3 handshakes (X25519, no resumption, no request; openssl s_time -new): CPU us per handshake.",
        handshakes,
        {"RSA-2048": {"role": "tls"}, "P-256": {"role": "ec"}},
        {"us": "*0", "norm": "*0", "percpu": "0", "hs": "0", "busy": "0"} | NOISE,
        rounds=5,
    ),
    Scenario(
        "h2-5k",
        "HTTP/2 over TLS to the gateway (h2load -c10 -m10), HTTP/1.1 without TLS to the origin, 5 KB body.",
        http2,
        {"c10 m10": {"role": "tls"}},
    ),
    Scenario(
        "h2c-5k",
        "HTTP/2 in cleartext to the gateway (h2load -c10 -m10), HTTP/1.1 to the origin, 5 KB body.",
        http2,
        {"c10 m10": {"role": "h2c"}},
    ),
    Scenario(
        "idle-memory",
        "Memory growth (PSS) per idle keep-alive connection that has served one 5 KB request; 10,000 "
        "connections, opened one by one.",
        idle_memory,
        {"plain": {}},
        {"kb": "*1", "base": "1", "held": "0"},
        rounds=1,
    ),
    Scenario(
        "idle-tls",
        "Memory growth (PSS) per idle connection over TLS 1.3 that has served one 5 KB request; 5,000 connections, "
        "opened one by one.",
        idle_memory,
        {"RSA-2048": {"role": "tls", "count": 5000}, "P-256": {"role": "ec", "count": 5000}},
        {"kb": "*1", "base": "1", "held": "0"},
        rounds=1,
    ),
    Scenario(
        "added-latency",
        "50,000 requests (5 KB) at 100 connections, then 2,000/s evenly paced over 100: latency, and what the "
        "gateway adds to the origin's own within the same round.",
        added_latency,
        {"50k at 100": {}, "paced 2000/s": {"rate": 2000}},
        LATENCY | NOISE | {"errors": "0"},
        rounds=4,
        direct=True,
    ),
    Scenario(
        "reload-under-load",
        "100 keep-alive connections at full speed while the gateway is reloaded 10 times in 10 s: failed requests "
        "(resets, early closes, timeouts, non-2xx), p99. `refused` counts reload commands that failed.",
        reload_under_load,
        {"calm": {"times": 0}, "10 reloads": {"times": 10}},
        {"errors": "*0", "permille": "3", "p50": "1", "p99": "*1", "rps": "0", "refused": "0"},
        rounds=1,
        seconds=10,
    ),
    Scenario(
        "slow-client",
        "500 clients read a 1 MB response at 10 KB/s while wrk asks for 5 KB on 50 other connections: p99 and CPU "
        "of the others, peak memory growth (PSS, MB) and MB that the gateway wrote to disk.",
        slow_client,
        {"calm": {"slow": 0}, "500 slow": {"slow": 500}},
        {"p99": "*1", "us": "*1", "rps": "0", "grown": "*1", "disk": "0", "errors": "0"},
        rounds=1,
        seconds=5,
    ),
    Scenario(
        "beside-jobs",
        "2,000 requests/s evenly paced (5 KB, no hook) while `run_in_process` computes in 0 or 2 processes, all of "
        "them on the gateway's one CPU: what the others' requests notice.",
        beside_jobs,
        {"idle": {"jobs": 0, "role": "jobs"}, "2 busy": {"jobs": 2, "role": "jobs"}},
        {"p99": "*2", "p50": "2", "mean": "2", "errors": "0", "jobs": "0"} | NOISE,
        rounds=4,
        seconds=4,
        peers=(),
    ),
    Scenario(
        "system-calls",
        "System calls per keep-alive request at 100 connections (strace -c over 40,000 requests, less those of "
        "10,000, so that opening the connections does not count); those that wait for events counted apart.",
        system_calls,
        {"5k": {}, "5k over TLS": {"role": "tls"}},
        {"calls": "*2", "waits": "2", "epoll_ctl": "3", "futex": "3"},
        rounds=1,
    ),
]
