"""The command that shows a running gateway as a live table: `top`."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from headgate.cli.connecting import Pid, PidFile, RuntimeDir, connected

if TYPE_CHECKING:
    from headgate.control.client import Client

SHORTEST_S = 0.2


def top(
    interval: Annotated[float, typer.Option(min=SHORTEST_S, max=60, help="Seconds between two looks.")] = 1.0,
    count: Annotated[int, typer.Option(min=0, help="End after so many tables; 0: no limit.")] = 0,
    rows: Annotated[int, typer.Option(min=1, max=1000, help="Routes and servers at most.")] = 20,
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
) -> None:
    """Watch a running gateway: requests per second, status classes and latency by route, servers, workers.

    Routes and servers need `metrics` in the configuration (`metrics: true` is enough). Ctrl-C ends it.
    """
    with connected(pid, pid_file, runtime_dir) as client:
        try:
            _watch(client, interval, count, rows)
        except KeyboardInterrupt:
            raise SystemExit(0) from None


def _watch(client: "Client", interval: float, count: int, rows: int) -> None:
    from headgate.cli.top_tables import Sample, tables
    from headgate.control.numbers import Numbers

    def look() -> Sample:
        return Sample(time.monotonic(), client.status(), Numbers(client.metrics().metrics))

    before, shown = look(), 0
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    live = Live(console=console, auto_refresh=False, screen=True) if sys.stdout.isatty() else None
    if live:
        live.start()
    try:
        while not count or shown < count:
            time.sleep(interval)
            now = look()
            table = tables(now, before, rows)
            if live:
                live.update(table, refresh=True)
            else:
                console.print(table)
            before, shown = now, shown + 1
    finally:
        if live:
            live.stop()
