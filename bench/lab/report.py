"""The results as Markdown: a table for each scenario, and one that sets them beside the bars."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .measure import Figures
from .scenarios import Scenario

Rows = dict[str, dict[str, list[Figures]]]  # case -> gateway -> one a round

TITLES = {
    "us": "CPU us/request",
    "norm": "at pace 1",
    "rps": "requests/s",
    "p50": "p50 ms",
    "p99": "p99 ms",
    "mean": "mean ms",
    "add_mean": "+mean ms",
    "add_p50": "+p50 ms",
    "add_p99": "+p99 ms",
    "busy": "busy%",
    "other": "other%",
    "mem": "MB",
    "percpu": "handshakes per CPU s",
    "hs": "handshakes/s",
    "kb": "KB/connection",
    "base": "base MB",
    "permille": "errors/1000",
    "grown": "grown MB",
    "disk": "disk MB",
    "calls": "system calls/request",
    "jobs": "jobs",
    "took": "first response ms",
    "imports": "imports ms",
    "ratio": "x imports",
}


def cell(rounds: Sequence[Figures], column: str, form: str) -> str:
    """Median over the rounds with as many digits as `form` says, and [min-max] if it begins with `*`."""
    values = [figures[column] for figures in rounds if column in figures]
    if not values:
        return "-"
    digits = int(form.lstrip("*"))
    spread = (
        f" [{min(values):.{digits}f}-{max(values):.{digits}f}]" if form[0] == "*" and len(values) > 1 else ""
    )
    return f"{statistics.median(values):.{digits}f}{spread}"


def ratio(rows: Rows, case: str, name: str, to: str, column: str = "norm") -> float | None:
    """The median over rounds of a gateway's figure over another's in the same round."""
    both = list(zip(rows.get(case, {}).get(name, []), rows.get(case, {}).get(to, []), strict=False))
    return statistics.median(a[column] / b[column] for a, b in both if b[column]) if both else None


def difference(rows: Rows, case: str, to: str, name: str, column: str = "norm") -> float | None:
    """The median over rounds of how much more one case costs a gateway than another."""
    both = list(zip(rows.get(case, {}).get(name, []), rows.get(to, {}).get(name, []), strict=False))
    return statistics.median(a[column] - b[column] for a, b in both) if both else None


def median(rows: Rows, case: str, name: str, column: str) -> float | None:
    """The median over rounds of one figure."""
    values = [figures[column] for figures in rows.get(case, {}).get(name, []) if column in figures]
    return statistics.median(values) if values else None


def table(scenario: Scenario, rows: Rows, when: str) -> str:
    """One scenario's result."""
    columns, first = list(scenario.columns), next(iter(scenario.cases))
    names = {name for by_name in rows.values() for name in by_name}
    reference = (
        next((n for n in ("nginx", "lua") if n in names), None) if columns[0] in ("us", "kb") else None
    )
    exact = "norm" if columns[0] == "us" else columns[0]
    heads = ["case", "gateway", TITLES.get(columns[0], columns[0])]
    heads += [f"x {reference}"] if reference else []
    heads += [f"over {first}"] if scenario.over_first else []
    heads += [TITLES.get(column, column) for column in columns[1:]]
    rounds = max((len(r) for by_name in rows.values() for r in by_name.values()), default=0)
    lines = [f"### {scenario.name}", f"{scenario.about} Rounds: {rounds} ({when}).", ""]
    lines += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for case, by_name in rows.items():
        for name, figures in by_name.items():
            cells = [case, name, cell(figures, columns[0], scenario.columns[columns[0]])]
            if reference:
                cells.append(shown(ratio(rows, case, name, reference, exact), 2))
            if scenario.over_first:
                cells.append(shown(difference(rows, case, first, name), 1) if case != first else "-")
            cells += [cell(figures, column, scenario.columns[column]) for column in columns[1:]]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


@dataclass(frozen=True)
class Bar:
    """A figure that headgate has to reach."""

    what: str
    limit: float
    unit: str
    value: float | None
    peers: str = ""


def bars(results: Mapping[str, Rows]) -> list[Bar]:
    """The project's bars with what this run measured; `value` is None where the scenario did not run."""

    def rows(name: str) -> Rows:
        return results.get(name, {})

    def to_nginx(what: str, scenario: str, case: str, limit: float) -> Bar:
        value = ratio(rows(scenario), case, "headgate", "nginx")
        haproxy = ratio(rows(scenario), case, "haproxy", "nginx")
        return Bar(what, limit, "x nginx", value, f"haproxy {shown(haproxy, 2)}" if haproxy else "")

    def plain(what: str, scenario: str, case: str, column: str, limit: float, unit: str) -> Bar:
        others = [name for name in rows(scenario).get(case, {}) if name not in ("headgate", "direct")]
        peers = ", ".join(f"{n} {shown(median(rows(scenario), case, n, column), 2)}" for n in others)
        return Bar(what, limit, unit, median(rows(scenario), case, "headgate", column), peers)

    paths = difference(rows("routes-10k"), "10k routes", "1 route", "headgate")
    waits = difference(rows("hooks"), "async", "headers", "headgate")

    def of(case: str, column: str) -> float | None:
        return median(rows("body-chunks"), case, "headgate", column)

    busy, idle = (median(rows("beside-jobs"), c, "headgate", "p99") for c in ("2 busy", "idle"))
    slow, calm = (median(rows("slow-client"), c, "headgate", "p99") for c in ("500 slow", "calm"))
    return [
        to_nginx("CPU per request, 5 KB, 100 connections", "h1-5k", "5k", 0.90),
        to_nginx("the same, access log on", "log", "default", 0.95),
        to_nginx("the same, access log on, nginx's buffered", "log", "buffered", 0.95),
        to_nginx("64 KB bodies", "h1-64k", "64k", 0.95),
        to_nginx("1 MB bodies", "h1-1m", "1m", 0.55),
        to_nginx("a new connection per request", "h1-newconn", "close", 1.0),
        to_nginx("POST of 16 KB", "h1-post", "16k", 0.95),
        to_nginx("5 KB over TLS, 100 connections", "tls-5k", "5k", 0.90),
        to_nginx("a full TLS 1.3 handshake, P-256", "tls-handshakes", "P-256", 0.65),
        to_nginx("HTTP/2 over TLS, 10 connections x 10 streams", "h2-5k", "c10 m10", 0.80),
        to_nginx("HTTP/2 in cleartext, the same", "h2c-5k", "c10 m10", 0.80),
        Bar(
            "memory per idle TLS connection",
            0.80,
            "x nginx",
            ratio(rows("idle-tls"), "RSA-2048", "headgate", "nginx", "kb"),
        ),
        Bar(
            "Python hooks against Lua's",
            0.80,
            "x nginx+Lua",
            ratio(rows("hooks"), "headers", "headgate", "lua"),
        ),
        Bar(
            "shared incr against Lua's",
            0.80,
            "x nginx+Lua",
            ratio(rows("shared-incr"), "incr", "headgate", "lua"),
        ),
        Bar(
            "body filter that upper-cases 5 KB against Lua's",
            0.80,
            "x nginx+Lua",
            ratio(rows("body-hook"), "upper", "headgate", "lua"),
        ),
        Bar(
            "time of 1 MB with a hook on each chunk, over none",
            1.25,
            "x none",
            unseen / seen if (seen := of("chunks", "rps")) and (unseen := of("none", "rps")) else None,
            f"CPU {shown(cpu / spliced, 2)} x"
            if (cpu := of("chunks", "norm")) and (spliced := of("none", "norm"))
            else "",
        ),
        Bar(
            "p99 while all job processes compute, over idle", 1.5, "x", busy / idle if busy and idle else None
        ),
        Bar(
            "a fetch in a hook against `location.capture`",
            1.3,
            "x nginx+Lua",
            ratio(rows("fetch"), "fetch", "headgate", "lua"),
        ),
        Bar(
            "a Redis GET in a hook against a cosocket's",
            1.0,
            "x nginx+Lua",
            ratio(rows("redis"), "redis", "headgate", "lua"),
        ),
        Bar("async hook that does not wait, over the sync one", 1.5, "us", waits),
        plain("system calls per keep-alive request", "system-calls", "5k", "calls", 4, ""),
        Bar("10,000 routes over one", 1.5, "us", paths),
        plain("mean latency added, paced 2,000/s", "added-latency", "paced 2000/s", "add_mean", 0.10, "ms"),
        plain("failed requests, 10 reloads in 10 s", "reload-under-load", "10 reloads", "errors", 0, ""),
        plain("failed of 1,000,000 requests", "million", "5k", "errors", 0, ""),
        plain("memory grown after the first 100,000", "million", "5k", "grown", 5, "MB"),
        plain(
            "failed of 1,000,000 hooked ones beside those that raise",
            "million-hooked",
            "every phase",
            "harmed",
            0,
            "",
        ),
        plain(
            "memory grown after the first 100,000 of those", "million-hooked", "every phase", "grown", 5, "MB"
        ),
        plain("memory per request that waits in a hook", "waiting", "1000", "kb", 8, "KB"),
        plain("memory per idle connection", "idle-memory", "plain", "kb", 2, "KB"),
        plain("memory grown by 500 slow readers", "slow-client", "500 slow", "grown", 16, "MB"),
        Bar("p99 of the others, slow over calm", 2, "x", slow / calm if slow and calm else None),
        plain("cold start of `headgate proxy`", "cold-start", "proxy", "ratio", 2, "x imports"),
    ]


def bar_table(results: Mapping[str, Rows]) -> str:
    """The bars that this run measured."""
    lines = ["### The bars", "", "| figure | bar | headgate | reached | peers |", "|---|---|---|---|---|"]
    for bar in bars(results):
        if bar.value is not None:
            reached = "yes" if round(bar.value, 2) <= bar.limit else "**no**"
            limit = f"<= {bar.limit:g} {bar.unit}".strip()
            lines.append(f"| {bar.what} | {limit} | {bar.value:.2f} | {reached} | {bar.peers} |")
    return "\n".join(lines) + "\n"
