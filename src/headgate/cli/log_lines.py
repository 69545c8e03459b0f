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


STEPS = {
    "accept": "accepting",
    "read": "reading the head",
    "queue": "in the queue",
    "connect": "connecting",
    "head": "until the head",
    "body": "body",
}
BAR = 40


def print_trace(entry: dict[str, Any]) -> None:
    """Prints a line as above, and below it each step and hook in the order of their begins, with bars."""
    print_line(entry)
    rows = [*timeline(entry), ("in all", 0, entry["total_us"], entry["total_us"])]
    # a client may have been silent for long after it had connected: what was so long ago is at the edge
    start = max(min(begin for _, begin, _, _ in rows), -entry["total_us"])
    scale = BAR / max(entry["total_us"] - start, 1)
    width = max(len(title) for title, *_ in rows)
    for title, begin, end, took in rows:
        left, right = (round(max(moment - start, 0) * scale) for moment in (begin, end))
        line = Text(f"  {title:<{width}} {begin / 1000:>+11.3f} {took / 1000:>11.3f} ms ")
        line.append(f"{' ' * min(left, BAR)}{'█' * (min(right, BAR) - left)}", style="blue")
        _console.print(line)
    if entry["hook_us"] and not entry["hooks"]:
        # a request that began before anybody followed has the sum alone
        sum_ms = entry["hook_us"] / 1000
        _console.print(
            Text(f"  hooks {sum_ms:.3f} ms in all, not one by one: it began before this command", style="dim")
        )
    told = {"attempts": entry["attempts"], "request_id": entry["request_id"], "trace_id": entry["trace_id"]}
    said = "  ".join(f"{name} {harmless(str(value))}" for name, value in told.items() if value)
    _console.print(Text(f"  {said}", style="dim"))
    sys.stdout.flush()


def timeline(entry: dict[str, Any]) -> list[tuple[str, int, int, int]]:
    """Each step and hook: its name, begin, end and length, in microseconds since the head was complete."""
    rows = []
    for step in entry["steps"]:
        title = STEPS.get(step["step"], step["step"])
        if entry["attempts"] > 1 and step["attempt"]:
            title = f"{title}, attempt {step['attempt']}"
        rows.append((title, step["begin_us"], step["begin_us"] + step["us"], step["us"]))
    for hook in entry["hooks"]:
        title = f"  {hook['phase']} {harmless(hook['hook'])}"
        rows.append((title, hook["begin_us"], hook["end_us"], hook["us"]))
    return sorted(rows, key=lambda row: row[1])
