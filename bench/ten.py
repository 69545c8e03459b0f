"""Ten plugins at once, beside nginx with the same ten in Lua: CPU microseconds a request, each over itself without.

CPU 0 runs the gateways (one worker each), CPU 1 the origin and wrk. Each round measures all four in turn; the medians
of the differences within a round count. No target comes twice, so that nothing is won by remembering them. Needs wrk
and nginx with its Lua module: tools/services.sh --bench installs them.

    bench/ten.py                      ten rounds of two seconds each, a table on stdout
    bench/ten.py --rounds 3 --seconds 1
"""

import argparse
import os
import re
import statistics
import sys
from pathlib import Path

from lab import clients, cost
from lab.measure import load
from lab.place import LAB, ORIGIN, RUN
from lab.preparing import origin, prepare
from lab.proxies import Program, Proxy

HERE = Path(__file__).resolve().parent
HEADGATE = Path(os.environ.get("HEADGATE_COMMAND") or Path(sys.executable).parent / "headgate")
FIELDS = (
    "X-API-Key: key",
    "Origin: https://a.example",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
)
EVERY_ONE_DOES = (
    rb"(?is)(?=.*ratelimit: )(?=.*x-correlation-id: )(?=.*x-d: e)(?=.*access-control-allow-origin: )"
)
BAR_US = 12


def gateways() -> list[tuple[str, Proxy, Proxy]]:
    """Name, without plugins, with ten."""
    run = f"run {HERE}/gates/ten_plugins.py --workers 1"

    def headgate(port: int, which: str) -> Proxy:
        settings = f"BENCH_ORIGIN=127.0.0.1:{ORIGIN} BENCH_TEN_AT=127.0.0.1:{port} BENCH_TEN={which}"
        command = f"env {settings} {HEADGATE} {run}"
        return Proxy(f"headgate-{which}", {"plain": port}, [Program(command, ("plain",))])

    nginx = [Program(f"nginx -c {RUN}/nginx-ten.conf", ("plain", "ten"))]
    lua = Proxy("nginx-ten", {"plain": 21080, "ten": 21081}, nginx)
    return [("headgate", headgate(22040, "none"), headgate(22041, "ten")), ("nginx+Lua", lua, lua)]


def slice_of(proxy: Proxy, role: str, seconds: float) -> float:
    """CPU microseconds a request, at the pace of the quietest moment."""
    figures = load(proxy, seconds, role=role, headers=FIELDS, script="targets.lua")
    if figures["errors"]:
        sys.exit(f"{proxy.name}: {figures['errors']:.0f} requests were refused; see {RUN}/*.log")
    return figures["norm"]


def checked(proxy: Proxy, role: str) -> None:
    """Ends the run if the ten do not do what they are there for."""
    lines = ("GET /5k HTTP/1.1", "Host: localhost", *FIELDS, "", "")
    with clients.connect(proxy.ports[role]) as connection:
        connection.sendall("\r\n".join(lines).encode())
        head = connection.recv(65536)
    if not re.match(EVERY_ONE_DOES, head):
        sys.exit(f"{proxy.name}: not all ten have done their work: {head[:900]!r}")


def measured(rounds: int, seconds: float) -> dict[str, list[tuple[float, float]]]:
    """For each gateway the figures without and with ten, by round."""
    found: dict[str, list[tuple[float, float]]] = {}
    every = gateways()
    started: list[Proxy] = []
    try:
        for _, without, with_ten in every:
            for one in [without] if with_ten is without else [without, with_ten]:
                started.append(one)
                one.start(set(one.ports))
            checked(with_ten, "ten" if with_ten is without else "plain")
        for number in range(rounds):
            for name, without, with_ten in every:
                role = "ten" if with_ten is without else "plain"
                pair = slice_of(without, "plain", seconds), slice_of(with_ten, role, seconds)
                found.setdefault(name, []).append(pair)
                print(f"round {number + 1}: {name} {pair[0]:.1f} {pair[1]:.1f}", file=sys.stderr)
    finally:
        for one in started:
            one.stop()
    return found


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    LAB.mkdir(parents=True, exist_ok=True)
    prepare()
    cost.PACE.start()
    with origin():
        found = measured(options.rounds, options.seconds)
    print("| gateway | without, us | with ten, us | ten cost, us | x nginx+Lua |")
    print("|---|---|---|---|---|")
    costs = {name: statistics.median(b - a for a, b in pairs) for name, pairs in found.items()}
    for name, pairs in found.items():
        without, with_ten = (statistics.median(one) for one in zip(*pairs, strict=True))
        ratio = costs[name] / costs["nginx+Lua"]
        print(f"| {name} | {without:.1f} | {with_ten:.1f} | {costs[name]:.1f} | {ratio:.2f} |")
    print(f"\nThe bar: {BAR_US} us, and below nginx+Lua.")


if __name__ == "__main__":
    main()
