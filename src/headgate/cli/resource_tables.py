"""Tables of resources, plans and histories, for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from headgate.cli.printable import printable
from headgate.cli.tables import made_console

LONGEST_SUMMARY = 100
COLOURS = {"+": "green", "-": "red", "@": "cyan"}
VERBS = {"created": "green", "changed": "yellow", "deleted": "red"}


def print_resources(items: Iterable[tuple[str, str, int | None, Any]]) -> None:
    """Kind, name, revision and the beginning of each resource."""
    table = Table(box=None, pad_edge=False)
    for heading in ("kind", "name", "revision", "resource"):
        table.add_column(heading, overflow="fold")
    for kind, name, revision, document in items:
        text = json.dumps(document, ensure_ascii=False)
        short = text if len(text) <= LONGEST_SUMMARY else f"{text[: LONGEST_SUMMARY - 3]}..."
        table.add_row(
            kind, Text(printable(name)), "-" if revision is None else str(revision), Text(printable(short))
        )
    made_console().print(table)


def print_plan(reply: dict[str, Any], *, is_trial: bool) -> None:
    """The counts of what was done, then each resource."""
    out = made_console()
    counts = ", ".join(f"{reply['counts'][verb]} {verb}" for verb in (*VERBS, "unchanged"))
    end = " (tried only)" if is_trial else f", revision {reply['revision']}"
    out.print(f"{counts}{end}")
    for verb, colour in VERBS.items():
        for key in reply["changes"][verb]:
            out.print(Text(printable(f"{verb:8} {key}"), style=colour))


def print_diff(lines: Sequence[str]) -> None:
    """A unified diff, in colour on a terminal."""
    out = made_console()
    for line in lines:
        out.print(Text(printable(line), style=COLOURS.get(line[:1], "")))


def print_history(entries: Iterable[dict[str, Any]]) -> None:
    """A line for each revision."""
    table = Table(box=None, pad_edge=False)
    for heading in ("revision", "at", "by", "what", "note"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        what = ", ".join(f"{_sign(edit)}{edit['kind']}/{edit['name']}" for edit in entry["edits"][:5])
        more = f", and {len(entry['edits']) - 5} more" if len(entry["edits"]) > 5 else ""
        at = entry["at"].partition(".")[0].replace("T", " ")
        table.add_row(
            str(entry["revision"]),
            at,
            *(Text(printable(text)) for text in (entry["author"], what + more, entry["note"])),
        )
    made_console().print(table)


def _sign(edit: dict[str, Any]) -> str:
    return "+" if edit["before"] is None else "-" if edit["after"] is None else "~"
