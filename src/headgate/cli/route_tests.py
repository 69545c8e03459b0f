"""Tests which route of a file takes a request: what `headgate routes FILE --test` prints."""

import json

from rich.table import Table

from headgate.cli.failing import FAILURE, USAGE, fail
from headgate.cli.log_lines import harmless
from headgate.cli.tables import made_console
from headgate.compile.route_tests import RouteTest, route_test
from headgate.config.errors import ConfigError

COLOURS = {"takes": "green", "later": "cyan", "function": "yellow"}


def test_routes(snapshot: str, request: str, headers: list[str], *, as_json: bool) -> None:
    """Prints the verdict on each route; ends the program with 1 if none takes the request."""
    method, _, url = request.strip().rpartition(" ")
    fields = [(name, value) for name, _, value in (one.partition(":") for one in headers)]
    try:
        found = route_test(snapshot, method.strip() or "GET", url, fields)
    except ConfigError as error:
        fail(f"--test: {error}", USAGE)
    if as_json:
        print(json.dumps(found.plain()))
    else:
        _print(found)
    if found.status:
        raise SystemExit(FAILURE)


def _print(found: RouteTest) -> None:
    console = made_console()
    table = Table(box=None, pad_edge=False)
    for heading in ("route", "verdict"):
        table.add_column(heading, overflow="fold")
    for one in found.verdicts:
        name = harmless(one.route).replace("[", r"\[")
        reason = harmless(one.reason).replace("[", r"\[")
        table.add_row(name, reason, style=COLOURS.get(one.kind, "dim"))
    console.print(table)
    console.print(summary(found), markup=False)


def summary(found: RouteTest) -> str:
    """What becomes of the request, in a line."""
    if found.path is None:
        return "the request gets 400: its path is not valid"
    if found.route is not None:
        may = any(one.kind == "function" for one in found.verdicts)
        return f"{found.route} takes {found.path}" + (", unless a function decides otherwise" if may else "")
    return f"the request gets {found.status}" if found.status else "a function decides"
