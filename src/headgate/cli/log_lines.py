"""Lines of the access log for people, drawn by rich; imported only when one is printed."""

import re
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

COLOURS = {0: "magenta", 1: "cyan", 2: "green", 3: "cyan", 4: "yellow", 5: "red"}
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
WIDEST_TARGET = 120

_console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 400)


def print_line(entry: dict[str, Any]) -> None:
    """Prints a line on stdout: time, status, duration, what was asked for, where it went, what went wrong."""
    status = entry["status"]
    line = Text(entry["time"][11:23], style="dim")
    line.append(f" {status or '-':>3}", style=COLOURS.get(status // 100, "red"))
    line.append(f" {entry['total_us'] / 1000:>9.1f} ms ", style="dim")
    line.append(f"{harmless(entry['method'] or entry['version']):<6} ")
    target = entry["target"]
    shown = target if len(target) <= WIDEST_TARGET else f"{target[:WIDEST_TARGET]}…"
    line.append(harmless(f"{entry['host']}{shown}"), style="bold")
    places = [part for part in (entry["route"], entry["upstream"], entry["server"]) if part]
    line.append(f"  {harmless(' → '.join(places))}", style="blue")
    line.append(f"  {harmless(entry['client'])}", style="dim")
    if wrong := entry["error"] or entry["limit"]:
        line.append(f"  {wrong}", style="red")
    _console.print(line)
    sys.stdout.flush()


def harmless(text: str) -> str:
    """The text without what controls a terminal or turns its text around: those characters are shown as `\\x1b`."""
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


STEPS = (
    ("in the queue", "queue_us"),
    ("connecting", "connect_us"),
    ("until the head", "head_us"),
    ("in hooks", "hook_us"),
    ("in all", "total_us"),
)
BAR = 40


def print_trace(entry: dict[str, Any]) -> None:
    """Prints a line as above, and below it the time of each step and hook, with bars."""
    print_line(entry)
    total = max(entry["total_us"], 1)
    steps = [(title, entry[key]) for title, key in STEPS]
    hooks = [(f"  {one['phase']} {harmless(one['hook'])}", one["us"]) for one in entry["hooks"]]
    width = max(len(title) for title, _ in (*steps, *hooks))
    for title, took in (*steps[:-1], *hooks, steps[-1]):
        bar = "█" * round(BAR * min(took / total, 1))
        line = Text(f"  {title:<{width}} {took / 1000:>10.3f} ms ")
        line.append(bar, style="blue")
        _console.print(line)
    told = {"attempts": entry["attempts"], "request_id": entry["request_id"], "trace_id": entry["trace_id"]}
    said = "  ".join(f"{name} {harmless(str(value))}" for name, value in told.items() if value)
    _console.print(Text(f"  {said}", style="dim"))
    sys.stdout.flush()
