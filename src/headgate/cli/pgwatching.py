"""The commands of `headgate pgwatch`: keys, values and their history in a PostgreSQL, without a gateway."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from headgate.cli.failing import FAILURE, USAGE, fail
from headgate.cli.printable import printable

if TYPE_CHECKING:
    from headgate import pgwatch as library

T = TypeVar("T")

pgwatch = typer.Typer(
    name="pgwatch",
    help="Keys, values, revisions and a watch in PostgreSQL, as etcd has them.",
    no_args_is_help=True,
)

Dsn = Annotated[
    str,
    typer.Option(
        "--dsn", envvar="PGWATCH_DSN", help="The database, as in `postgresql://user@host/database`."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
Prefix = Annotated[bool, typer.Option("--prefix", help="All keys that begin so.")]


@pgwatch.command()
def install(dsn: Dsn) -> None:
    """Make the tables and functions in the schema `pgwatch`, or bring them up to date."""
    _run(dsn, lambda kv: kv.install())


@pgwatch.command()
def get(
    dsn: Dsn,
    key: str,
    prefix: Prefix = False,
    at: Annotated[int | None, typer.Option(help="As it was at this revision.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print what a key holds, or all keys of a prefix; ends with 1 where there is none."""

    async def run(kv: "library.Client") -> list["library.Item"]:
        if prefix:
            return list((await kv.get_prefix(key, at=at)).items)
        found = await kv.get(key, at=at)
        return [found] if found else []

    found = _run(dsn, run)
    for item in found:
        if as_json:
            told = {"key": item.key, "value": _text(item.value), "created": item.created}
            print(json.dumps(told | {"modified": item.modified, "version": item.version}))
        else:
            print(f"{_line(item.key)}\t{_line(_text(item.value))}" if prefix else _text(item.value))
    if not found:
        raise SystemExit(FAILURE)


@pgwatch.command()
def put(
    dsn: Dsn,
    key: str,
    value: Annotated[str, typer.Argument(help="The value; `-` reads it from stdin.")],
    expected: Annotated[
        int | None, typer.Option(help="Only if the key is at this revision; 0: only if there is none.")
    ] = None,
) -> None:
    """Write a key; prints the revision."""
    content = sys.stdin.buffer.read() if value == "-" else value.encode()
    print(_run(dsn, lambda kv: kv.put(key, content, expected=expected)))


@pgwatch.command("del")
def delete(dsn: Dsn, key: str, prefix: Prefix = False) -> None:
    """Delete a key, or all keys of a prefix; prints the revision."""
    print(_run(dsn, lambda kv: kv.delete_prefix(key) if prefix else kv.delete(key)))


@pgwatch.command()
def watch(
    dsn: Dsn,
    prefix: Annotated[str, typer.Argument(help="The keys that begin so.")] = "",
    since: Annotated[int | None, typer.Option(help="What came after this revision, too.")] = None,
    count: Annotated[int | None, typer.Option(help="End after so many events.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print changes of keys until stopped; it reconnects after failures and loses nothing."""

    async def run(kv: "library.Client") -> None:
        left = count
        async for event in kv.watch(prefix, since=since):
            value = None if event.value is None else _text(event.value)
            if as_json:
                print(json.dumps({"revision": event.revision, "key": event.key, "value": value}), flush=True)
            elif value is None:
                print(f"{event.revision}\tdel\t{_line(event.key)}", flush=True)
            else:
                print(f"{event.revision}\tput\t{_line(event.key)}\t{_line(value)}", flush=True)
            left = None if left is None else left - 1
            if left == 0:
                return

    _run(dsn, run)


@pgwatch.command()
def compact(
    dsn: Dsn,
    before: Annotated[int | None, typer.Option(help="Forget what was before this revision.")] = None,
    older_than: Annotated[int | None, typer.Option(help="Forget what is older, in seconds.")] = None,
) -> None:
    """Forget history; prints the oldest revision that is kept."""
    if (before is None) == (older_than is None):
        fail("one of --before and --older-than is required", USAGE)
    age = None if older_than is None else timedelta(seconds=older_than)
    print(_run(dsn, lambda kv: kv.compact(before=before, older_than=age)))


@pgwatch.command()
def history(
    dsn: Dsn,
    prefix: Annotated[str, typer.Argument(help="The keys that begin so.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many revisions.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Print the newest revisions first: when, who, and what each key held before and after."""
    for one in _run(dsn, lambda kv: kv.history(prefix, limit=limit)):
        values = [None if value is None else _text(value) for value in (one.before, one.event.value)]
        told = {
            "revision": one.event.revision,
            "at": one.at.isoformat(),
            "author": one.author,
            "note": one.note,
        }
        told |= {"key": one.event.key, "before": values[0], "after": values[1]}
        if as_json:
            print(json.dumps(told))
        else:
            shown = ["-" if value is None else _line(value) for value in values]
            who, key = _line(one.author) or "-", _line(one.event.key)
            print(f"{one.event.revision}\t{told['at']}\t{who}\t{key}\t{' -> '.join(shown)}")


def _run(dsn: str, call: "Callable[[library.Client], Awaitable[T]]") -> T:
    """Runs one call, and says what is wrong in one line."""
    try:
        from headgate import pgwatch as library
    except ImportError:
        fail("PostgreSQL needs asyncpg\n  hint: pip install 'headgate[postgres]'", FAILURE)

    async def run() -> T:
        async with library.connect(dsn) as kv:
            return await call(kv)

    try:
        return asyncio.run(run())
    except library.Unavailable as error:
        told = f"PostgreSQL is not available: {error}"
        fail(
            told if "hint: " in told else f"{told}\n  hint: `--dsn` or PGWATCH_DSN names the server", FAILURE
        )
    except (library.PgwatchError, LookupError, ValueError) as error:
        fail(str(error), FAILURE)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _text(value: bytes) -> str:
    """A value for a terminal: what is not printable is escaped, so that no value can play with it."""
    return printable(value.decode("utf-8", "backslashreplace"))


def _line(text: str) -> str:
    """A text as a part of one line, which has tabs between its parts."""
    return printable(text).replace("\n", "\\n")
