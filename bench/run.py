"""The benchmark: headgate beside nginx, HAProxy and nginx+Lua on this machine, all in the same run.

CPU 0 runs the gateways (one worker each), CPU 1 the origin and the load. Slices are short and each round runs
every case on every gateway, so that disturbances hit all alike.
`x nginx` is the median of the ratios to nginx within the same round, of the figures `at pace 1`: CPU us/request over
how much slower than its best a tiny fixed loop ran meanwhile. `busy%` is the gateway's share of its CPU, `other%`
what strangers took on all CPUs.

`make bench` runs all scenarios that a bar stands on, in about half an hour, and says on stderr what each slice gave.
`make bench BENCH=--quick` runs each once for a second, to see that all of it works (about eight minutes; its figures
are rough). `make bench BENCH="h1-5k hooks --rounds 10 --json kept.json"` runs two, and keeps every figure.

Needs wrk, h2load, strace, nginx with its Lua module, haproxy and redis: tools/services.sh --bench installs them.
Files go to $HEADGATE_LAB (headgate-lab in the temporary folder by default).
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

from lab import cost, report
from lab.lasting import lasting
from lab.place import LAB, ORIGIN, SECURE_ORIGIN
from lab.preparing import origin, prepare
from lab.proxies import Program, Proxy, peers
from lab.scenarios import SCENARIOS, Scenario
from lab.special import SPECIAL

HERE = Path(__file__).resolve().parent
HEADGATE = Path(sys.executable).parent / "headgate"
PORTS = {"plain": 22010, "routes": 22011, "headers": 22012, "async": 22013, "log": 22014, "logbuf": 22015}
PORTS |= {"dict": 22017, "jobs": 22018, "sni": 22019, "body": 22020, "chunks": 22021}
PORTS |= {"fetch": 22022, "redis": 22023, "asgi": 22024, "phases": 22025, "waiting": 22026, "replace": 22027}
SECURE = {"tls": 22031, "ec": 22032}  # by type of key; one gate listens on both
COLD_PORT = 22016
LATER = {"h1-conns", "h1-small", "tls-64k", "tls-1m"}  # no bar stands on them


def headgate() -> Proxy:
    """The subject: one program for each gate file."""
    # a file named as a library would hide it
    files = {"redis": "redis_get"}
    programs = [
        Program(f"{HEADGATE} run {HERE}/gates/{files.get(role, role)}.py --workers 1", (role,))
        for role in PORTS
    ]
    programs[0] = Program(programs[0].command, ("plain", "h2c"))
    programs.append(Program(f"{HEADGATE} run {HERE}/gates/tls.py --workers 1", tuple(SECURE)))
    ports = PORTS | SECURE | {"h2c": PORTS["plain"]}
    os.environ |= {f"BENCH_{role.upper()}": f"127.0.0.1:{port}" for role, port in ports.items()}
    os.environ |= {
        "BENCH_ORIGIN": f"127.0.0.1:{ORIGIN}",
        "BENCH_SECURE_ORIGIN": f"127.0.0.1:{SECURE_ORIGIN}",
        "HEADGATE_LAB": str(LAB),
    }
    return Proxy("headgate", ports, programs, "kill -HUP {pid}")


def measure(
    scenario: Scenario, proxies: list[Proxy], rounds: int, seconds: float, patience: float
) -> report.Rows:
    """Every case on every gateway, round after round; waits up to `patience` s for a quiet machine before each."""
    rows: report.Rows = {case: {} for case in scenario.cases}
    alone = [Proxy("direct", {"plain": ORIGIN})] if scenario.direct else []
    for number in range(rounds):
        turn = number % max(len(proxies), 1)
        for case, options in scenario.cases.items():
            base: dict[str, float] = {}
            for proxy in alone + proxies[turn:] + proxies[:turn]:
                if options.get("role", "plain") not in proxy.ports:
                    continue
                cost.wait_for_quiet(patience)
                figures = scenario.measure(proxy, seconds=seconds, **options)
                if figures is None:
                    continue
                if proxy.name == "direct":
                    base = figures
                elif base:
                    figures |= {f"add_{k}": figures[k] - base[k] for k in ("mean", "p50", "p99")}
                rows[case].setdefault(proxy.name, []).append(figures)
                shown = " ".join(f"{k}={v:.2f}" for k, v in figures.items())
                print(f"  {scenario.name} {case} {proxy.name} round {number + 1}: {shown}", file=sys.stderr)
    return rows


def machine() -> str:
    """What this was measured on, and the peers' versions."""
    versions = []
    for command in (["nginx", "-v"], ["haproxy", "-v"], [str(HEADGATE), "version"]):
        if not shutil.which(command[0]):
            continue
        out = subprocess.run(command, capture_output=True, text=True)
        versions.append((out.stdout + out.stderr).strip().splitlines()[0])
    with open("/proc/cpuinfo") as info:
        model = next(
            (line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown CPU"
        )
    host = f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"
    return f"{time.strftime('%Y-%m-%d')}, {host}; {'; '.join(versions)}\n"


def arguments(known: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=" ".join(known))
    parser.add_argument("--peers", default="nginx,haproxy", help="also envoy, caddy, traefik; all; none")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of one measurement")
    parser.add_argument(
        "--patience", type=float, default=1, help="seconds to wait at most for a quiet machine"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short round of everything, to see that all runs"
    )
    parser.add_argument("--json", type=Path, help="keep every figure here, merged by scenario")
    parser.add_argument("--serve", action="store_true", help="only start the origin and Redis, then wait")
    given = parser.parse_args()
    if unknown := set(given.scenarios) - set(known):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {' '.join(known)}")
    return given


def chosen_peers(text: str) -> list[Proxy]:
    """The peers named, less those that are not installed here (which is said)."""
    known = {name: proxy for name, proxy in peers().items() if name != "lua"}
    names = list(known) if text == "all" else [] if text == "none" else text.split(",")
    for name in names:
        if not known[name].is_installed():
            print(f"{name} is not installed here and left out", file=sys.stderr)
    return [known[name] for name in names if known[name].is_installed()]


def main() -> int:
    proxy = f"{HEADGATE} proxy 127.0.0.1:{COLD_PORT} --to http://127.0.0.1:{ORIGIN} --workers 1"
    scenarios = {s.name: s for s in [*SCENARIOS, *SPECIAL, *lasting(proxy, COLD_PORT)]}
    given = arguments(list(scenarios))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that what we started is stopped
    prepare()
    subject, others = headgate(), chosen_peers(given.peers)
    cost.PACE.start()
    time.sleep(1)  # for a first idea of its best
    kept = json.loads(given.json.read_text()) if given.json and given.json.exists() else {}
    failed = []
    print(machine())
    with origin():
        if given.serve:
            input(f"origin on {ORIGIN}; Enter ends\n")
            return 0
        for name in given.scenarios or [n for n in scenarios if n not in LATER]:
            scenario = scenarios[name]
            rounds, seconds = given.rounds or scenario.rounds, given.seconds or scenario.seconds
            if given.quick:
                rounds, seconds = 1, min(seconds, 1)
            named = [peers()[p] for p in scenario.peers or ()]
            proxies = [*([p for p in named if p.is_installed()] if named else others), subject]
            roles = {str(case.get("role", "plain")) for case in scenario.cases.values()}
            try:
                for gateway in proxies:
                    gateway.start(roles)
                time.sleep(1)
                kept[name] = measure(scenario, proxies, rounds, seconds, given.patience)
            except Exception:
                traceback.print_exc()
                failed.append(name)
                continue
            finally:
                for gateway in proxies:
                    gateway.stop()
            print(report.table(scenario, kept[name], time.strftime("%Y-%m-%d %H:%M")), flush=True)
            if given.json:
                given.json.write_text(json.dumps(kept))
    print(report.bar_table(kept))
    if failed:
        print(f"could not be measured: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
