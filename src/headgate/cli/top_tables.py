"""The tables of `headgate top`, drawn by rich; imported only when they are."""

import unicodedata
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from headgate.control.commands import ServerStatus, Status
from headgate.control.numbers import Numbers, Times, since

CLASSES = ("2xx", "3xx", "4xx", "5xx")
REQUESTS, TOOK = "headgate_requests_total", "headgate_request_duration_seconds"
SERVER_TOOK = "headgate_upstream_response_seconds"


class Sample(NamedTuple):
    """A gateway at one moment."""

    at_s: float
    status: Status
    numbers: Numbers


def tables(now: Sample, before: Sample, rows: int) -> RenderableType:
    """What has happened between two looks, the busiest `rows` first."""
    status, numbers = now.status, now.numbers
    active = numbers.total("headgate_requests_active")
    connections = numbers.total("headgate_connections_active")
    rate = _rate(now, before, REQUESTS) or _counted(now, before)
    state = "stopping" if status.stopping else "reloading" if status.reloading else "serving"
    head = (
        f"headgate {status.pid}: {state}, generation {status.generation}, up {status.uptime_s:.0f} s   "
        f"{rate:.1f} requests/s   {active:.0f} in flight   {connections:.0f} connections"
    )
    return Group(
        Text(head, style="bold"),
        _workers(now, before),
        _routes(now, before, rows),
        _servers(now, before, rows),
    )


def safe(text: str) -> Text:
    """Text for a terminal: no control code of it acts there, and none of it is markup."""
    return Text("".join("\ufffd" if unicodedata.category(one) in ("Cc", "Cf") else one for one in text))


def _table(title: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(title, no_wrap=True, max_width=48)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _workers(now: Sample, before: Sample) -> Table:
    table = _table("worker", "state", "connections", "memory", "cpu %")
    known = {worker.pid: worker.cpu_s or 0.0 for worker in before.status.workers}
    for worker in now.status.workers:
        spent = max((worker.cpu_s or 0.0) - known.get(worker.pid, worker.cpu_s or 0.0), 0.0)
        table.add_row(
            str(worker.pid),
            worker.state,
            "-" if worker.connections is None else str(worker.connections),
            "-" if worker.rss_bytes is None else f"{worker.rss_bytes / 2**20:.0f} MiB",
            f"{100 * spent / max(now.at_s - before.at_s, 0.001):.0f}",
        )
    return table


def _routes(now: Sample, before: Sample, rows: int) -> RenderableType:
    elapsed = max(now.at_s - before.at_s, 0.001)
    sums = now.numbers.by(REQUESTS, "route")
    if not sums:
        return Text(
            "no requests by route; hint: `metrics: true` in the configuration counts them", style="dim"
        )
    old = before.numbers.by(REQUESTS, "route")
    rates = {route: (total - old.get(route, 0.0)) / elapsed for route, total in sums.items()}
    took = now.numbers.times(TOOK, lambda labels: labels["route"])
    took_before = before.numbers.times(TOOK, lambda labels: labels["route"])
    table = _table("route", "req/s", *CLASSES, "p50", "p99", "in all")
    for route in sorted(rates, key=lambda route: (-rates[route], -sums[route], route))[:rows]:
        times = since(took.get(route, Times({}, 0.0)), took_before.get(route))
        classes = [
            (
                now.numbers.total(REQUESTS, route=route, status=one)
                - before.numbers.total(REQUESTS, route=route, status=one)
            )
            / elapsed
            for one in CLASSES
        ]
        table.add_row(
            safe(route) if route else Text("(no route)", style="dim"),
            f"{rates[route]:.1f}",
            *(f"{one:.1f}" if one else "" for one in classes),
            _shown_s(times.quantile_s(0.5)),
            _shown_s(times.quantile_s(0.99)),
            f"{sums[route]:.0f}",
        )
    return table


def _servers(now: Sample, before: Sample, rows: int) -> RenderableType:
    def key(labels: dict[str, str]) -> tuple[str, str]:
        return labels["upstream"], labels["server"]

    took, took_before = now.numbers.times(SERVER_TOOK, key), before.numbers.times(SERVER_TOOK, key)
    said = {(one.upstream, one.server): one for one in now.status.servers}
    for server, one in said.items():  # those that get no requests because of what is said of them
        if one.out_by:
            took.setdefault(server, Times({}, 0.0))
    if not took:
        return Text("")
    elapsed = max(now.at_s - before.at_s, 0.001)
    table = _table("server", "up", "active", "idle", "req/s", "failed/s", "p50", "p99")
    lately = {server: since(times, took_before.get(server)) for server, times in took.items()}
    for upstream, server in sorted(lately, key=lambda one: (-lately[one].calls, one))[:rows]:
        labels = {"upstream": upstream, "server": server}
        times = lately[upstream, server]
        failures = "headgate_upstream_failures_total"
        failed = now.numbers.total(failures, **labels) - before.numbers.total(failures, **labels)
        table.add_row(
            safe(f"{upstream} {server}" if upstream != server else server),
            _rotation(
                said.get((upstream, server)), now.numbers.total("headgate_upstream_server_up", **labels)
            ),
            f"{now.numbers.total('headgate_upstream_requests_active', **labels):.0f}",
            f"{now.numbers.total('headgate_upstream_idle_connections', **labels):.0f}",
            f"{times.calls / elapsed:.1f}",
            f"{failed / elapsed:.1f}" if failed else "",
            _shown_s(times.quantile_s(0.5)),
            _shown_s(times.quantile_s(0.99)),
        )
    return table


def _rotation(said: ServerStatus | None, is_up: float) -> RenderableType:
    """Whether a server is in rotation, and who has taken it out."""
    if said and said.out_by:
        return Text(said.out_by, style="yellow" if said.admin != "ready" else "red")
    return "yes" if is_up else Text("no", style="red")


def _rate(now: Sample, before: Sample, name: str) -> float:
    return (now.numbers.total(name) - before.numbers.total(name)) / max(now.at_s - before.at_s, 0.001)


def _counted(now: Sample, before: Sample) -> float:
    """Requests per second where none are counted by route."""
    counted = now.status.counters["requests"] - before.status.counters["requests"]
    return counted / max(now.at_s - before.at_s, 0.001)


def _shown_s(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds == float("inf"):
        return "> 60 s"
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"
