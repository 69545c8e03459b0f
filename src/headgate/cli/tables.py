"""Tables for people, drawn by rich; imported only when one is printed."""

import sys
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from headgate.control.commands import NameStatus, Seen, ServerStatus, Status
    from headgate.control.messages import HookTimes


WELL = "checks say up"
MOST_WELL = 20
"""Servers of which no more is said than that they are well; more of them take one line together."""

WIDEST = 100_000
"""Columns of what is not a terminal: rich would take it for one of 80, and cut names into lines."""


def made_console() -> Console:
    """Where tables go; not cut where it is no terminal."""
    width = None if sys.stdout.isatty() else WIDEST
    return Console(highlight=False, soft_wrap=True, width=width)


def print_status(status: "Status") -> None:
    """The status of a gateway: a summary, its workers, the counters that are not zero."""
    console = made_console()
    state = "stopping" if status.stopping else "reloading" if status.reloading else "serving"
    console.print(f"supervisor {status.pid}: {state}, generation {status.generation}, up {status.uptime_s} s")
    console.print(f"listening on {', '.join(status.listeners)}", soft_wrap=True, markup=False)
    if status.admin:
        console.print(f"Admin API on {', '.join(status.admin)}", soft_wrap=True, markup=False)
    if (reload := status.last_reload) and not reload.ok:
        console.print(f"last reload failed: {reload.error}", style="red", soft_wrap=True, markup=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("worker", "state", "generation", "connections", "memory", "cpu", "up"):
        table.add_column(heading, justify="left" if heading == "state" else "right")
    for worker in status.workers:
        table.add_row(
            str(worker.pid),
            worker.state,
            str(worker.generation),
            "-" if worker.connections is None else str(worker.connections),
            "-" if worker.rss_bytes is None else f"{worker.rss_bytes / 2**20:.0f} MiB",
            "-" if worker.cpu_s is None else f"{worker.cpu_s:.1f} s",
            f"{worker.uptime_s:.0f} s",
        )
    console.print(table)
    for sought in status.names:
        console.print(f"name {sought.name}: {_lookup(sought)}", markup=False)
    well = [one for one in status.servers if _standing(one) == WELL]
    for one in (
        status.servers if len(well) <= MOST_WELL else [one for one in status.servers if one not in well]
    ):
        named = f"upstream {one.upstream}" if one.is_circuit else f"server {one.upstream} {one.server}"
        console.print(f"{named}: {_standing(one)}", markup=False)
    if len(well) > MOST_WELL:
        console.print(f"{len(well)} servers: {WELL}", markup=False)
    for name, value in status.counters.items():
        if value:
            console.print(f"{name} {value}", markup=False)


def _lookup(name: "NameStatus") -> str:
    """What is found by a name, in words."""
    if name.servers is None:
        return "not looked up yet" + (f": {name.error}" if name.error else "")
    found = f"{name.servers} server{'s' if name.servers != 1 else ''}"
    return f"{found}, the last lookup failed: {name.error}" if name.error else found


def _standing(server: "ServerStatus") -> str:
    """What is said of a server, in words."""
    if server.is_circuit:
        return f"circuit open for {server.ejected_ms / 1000:.0f} s" if server.ejected_ms else server.out_by
    said = [f"checks say {server.check}"] if server.check != "unknown" else []
    said += [server.admin] if server.admin != "ready" else []
    said += [f"ejected for {server.ejected_ms / 1000:.0f} s"] if server.ejected_ms else []
    said += [f"takes {server.weight} % of its share"] if server.weight != 100 else []
    return ", ".join(said)


def print_hook_times(hooks: "list[HookTimes]") -> None:
    """How long hooks take: one table for each hook, one by phase, one by plugin."""
    from headgate.control.hook_times import by_phase, by_plugin, quantile_us

    console = made_console()
    if not hooks:
        return console.print("no hook has been called yet")
    for heading, rows in (("hook", hooks), ("phase", by_phase(hooks)), ("plugin", by_plugin(hooks))):
        if not rows:
            continue
        table = Table(box=None, pad_edge=False)
        table.add_column(heading, overflow="fold")
        for column in ("calls", "failures", "mean", "p50", "p99", "longest", "of it inline", "in all"):
            table.add_column(column, justify="right")
        for times in rows:
            name = f"{times.phase} {times.hook}" if heading == "hook" else times.phase or times.plugin or ""
            spent = (
                times.total_us // times.calls,
                quantile_us(times, 0.5),
                quantile_us(times, 0.99),
                times.longest_us,
            )
            inline = f"{100 * times.inline_us / max(times.total_us, 1):.0f} %"
            table.add_row(
                _plain(name),
                str(times.calls),
                str(times.failures),
                *map(_time, spent),
                inline,
                _time(times.total_us),
            )
        console.print(table)


def _time(us: int) -> str:
    return f"{us} us" if us < 10_000 else f"{us / 1000:.0f} ms" if us < 10_000_000 else f"{us / 1e6:.0f} s"


def print_hit(seen: "Seen") -> None:
    """One arrival at an inspected place."""
    console = made_console()
    hit, worker = seen.hit, seen.worker
    if hit.error:
        return console.print(f"worker {worker}: {hit.error}", style="red", markup=False)
    request = hit.request
    for_whom = f"  {request.method} {request.target}  {request.id}" if request else ""
    where = f"{hit.file.rpartition('/')[2]}:{hit.line} in {hit.function}"
    console.print(
        f"{_clock_time(hit.time_unix)}  worker {worker}  {where}{for_whom}", style="bold", markup=False
    )
    values = dict(hit.values)
    if hit.handler is not None:
        values["(handler)"] = hit.handler
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        console.print(f"  {name:<{width}} = {value}", markup=False)
    if hit.lost:
        console.print(f"  {hit.lost} hits before this one were dropped: they arrived too fast", style="red")
    return None


def _clock_time(unix: float) -> str:
    """`12:30:01.123`, local."""
    return f"{time.strftime('%H:%M:%S', time.localtime(unix))}.{int(unix % 1 * 1000):03d}"


def print_routes(config: Any) -> None:
    """The routes of a configuration, in the order they are written."""
    console = made_console()
    table = Table(box=None, pad_edge=False)
    for heading in ("route", "methods", "host", "path", "action", "priority"):
        table.add_column(heading, overflow="fold")
    for route in config.routes:
        table.add_row(
            _plain(route.shown_name),
            " ".join(route.methods) or "any",
            _plain(" ".join(route.host) or "any"),
            _plain(
                route.path
                + "".join(f" {_condition(k, v)}" for k, v in (*route.headers.items(), *route.query.items()))
            ),
            _plain(_action(route)),
            str(route.priority),
        )
    console.print(table)


def _condition(name: str, wanted: str | None) -> str:
    return name if wanted is None else f"{name}={wanted}"


def _action(route: Any) -> str:
    if route.to is not None:
        return f"to {route.to}"
    if route.redirect is not None:
        return f"redirect {route.redirect.status} {route.redirect.location}"
    if route.respond is not None:
        return f"respond {route.respond.status}"
    if route.files is not None:
        return f"files {route.files.root}"
    return "hooks"


def _plain(text: str) -> str:
    """Without what rich would take for markup."""
    return text.replace("[", r"\[")
