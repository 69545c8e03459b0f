"""Reads: each is one statement, so what it says of the head, of what was compacted and of the keys is of one state."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

from headgate.pgwatch.errors import HistoryLost, NotInstalled
from headgate.pgwatch.link import Link
from headgate.pgwatch.records import Batch, Event, Item, Items, Position, Transition, prefix_end

MOST_EVENTS_AT_ONCE = 5000

_HEAD = """WITH head AS (
  SELECT m.epoch, m.oldest, coalesce(r.revision, 0) AS head, coalesce(r.mark, '') AS mark,
    pgwatch._flushed(r.at) AS is_flushed
  FROM pgwatch.meta m LEFT JOIN LATERAL (
    SELECT revision, mark, at FROM pgwatch.revisions ORDER BY revision DESC LIMIT 1) r ON true)"""
_ITEM = "x.key, x.value, x.created, x.modified, x.version, x.lease"
_EVENT = "x.revision, x.key, x.value, x.created, x.version, x.lease"


async def position(link: Link) -> Position:
    """Where the database is."""
    return _position(_first(await link.rows(f"{_HEAD} SELECT * FROM head")))


async def items(link: Link, key: str, *, is_prefix: bool, at: int | None) -> Items:
    """Items of a key or a prefix."""
    where, arguments = _of_keys(key, is_prefix=is_prefix, first=1 if at is None else 2)
    if at is None:
        rows = await link.rows(
            f"{_HEAD} SELECT head.*, {_ITEM} FROM head LEFT JOIN LATERAL ("
            f"SELECT * FROM pgwatch.keys k WHERE {where} ORDER BY key) x ON true",
            *arguments,
        )
    else:
        rows = await link.rows(
            f"{_HEAD}, at AS (SELECT mark AS at_mark FROM pgwatch.revisions WHERE revision = $1)"
            f" SELECT head.*, at_mark, {_ITEM} FROM head LEFT JOIN at ON true LEFT JOIN LATERAL ("
            "SELECT DISTINCT ON (k.key) k.*, k.revision AS modified FROM pgwatch.events k"
            f" WHERE k.revision <= $1 AND {where} ORDER BY k.key, k.revision DESC) x ON x.value IS NOT NULL",
            at,
            *arguments,
        )
        head = _first(rows)
        if at < head["oldest"]:
            raise HistoryLost(at, head["oldest"])
        if at > head["head"]:
            raise LookupError(f"there is no revision {at} yet\n  hint: the latest is {head['head']}")
    found = [Item(*row[-6:]) for row in _tuples(rows) if row[-6] is not None]
    head = _first(rows)
    if at is None:
        return Items(_position(head), found)
    return Items(Position(head["epoch"], at, head["at_mark"] or ""), found)


async def these(link: Link, keys: Sequence[str], mark: str = "") -> tuple[Items, Position | None]:
    """Those of some keys that are there, and the position that the transaction with a mark made, if it was done."""
    rows = await link.rows(
        f"{_HEAD} SELECT head.*, (SELECT revision FROM pgwatch.revisions WHERE mark = $2) AS done, {_ITEM}"
        " FROM head LEFT JOIN LATERAL ("
        "SELECT * FROM pgwatch.keys k WHERE k.key = ANY ($1::text[])) x ON true",
        list(keys),
        mark,
    )
    head = _first(rows)
    found = [Item(*row[-6:]) for row in _tuples(rows) if row[-6] is not None]
    done = None if head["done"] is None else Position(head["epoch"], head["done"], mark)
    return Items(_position(head), found), done


async def oldest_by_age(link: Link, older_than: timedelta) -> tuple[int, int, int | None]:
    """The head, the oldest revision that is kept, and the last one that is older."""
    rows = await link.rows(
        f"{_HEAD} SELECT head, oldest, (SELECT max(revision) FROM pgwatch.revisions"
        " WHERE at <= clock_timestamp() - $1::interval) AS last FROM head",
        older_than,
    )
    head = _first(rows)
    return head["head"], head["oldest"], head["last"]


async def living(link: Link, prefix: str) -> Sequence[Item]:
    """The items under a prefix whose leases have not ended, even if nobody has swept them up yet.

    A lease has not ended because the server's clock was set: until it is renewed by the new time, or somebody has swept
    by it, it lasts as long as by the time that passes here.
    """
    where, arguments = _of_keys(prefix, is_prefix=True, first=1)
    expected = f"${len(arguments) + 1}::timestamptz"
    instant = "clock_timestamp()"
    rows = await link.rows(
        f"SELECT {_ITEM} FROM pgwatch.keys x JOIN pgwatch.leases l USING (lease) CROSS JOIN pgwatch.meta m"
        f" WHERE {where.replace('k.key', 'x.key')} AND (l.until >= {instant} OR (l.until >= {expected}"
        f" AND m.leases_seen NOT BETWEEN {instant} - interval '10 s' AND {instant})) ORDER BY key",
        *arguments,
        link.server_time,
    )
    return [Item(*row) for row in _tuples(rows)]


async def batch(link: Link, prefix: str, since: Position | int) -> Batch:
    """Whole revisions after a position; raises `HistoryLost`."""
    number = since if isinstance(since, int) else since.revision
    where, arguments = _of_keys(prefix, is_prefix=True, first=3)
    sql = (
        f"{_HEAD}, known AS (SELECT mark AS known_mark FROM pgwatch.revisions WHERE revision = $1)"
        f" SELECT head.*, known_mark, {_EVENT} FROM head LEFT JOIN known ON true LEFT JOIN LATERAL ("
        f"SELECT * FROM pgwatch.events k WHERE k.revision > $1 AND k.revision <= $2 AND {where}"
        f" ORDER BY k.revision, k.key LIMIT {{limit}}) x ON true"
    )
    rows = await link.rows(sql.format(limit=MOST_EVENTS_AT_ONCE), number, 2**62, *arguments)
    head = _first(rows)
    known = head["known_mark"] if number else ""
    is_same = isinstance(since, int) or (since.epoch == head["epoch"] and since.mark == known)
    if not is_same or not head["oldest"] <= number <= head["head"]:
        raise HistoryLost(number, head["oldest"])
    if len(rows) < MOST_EVENTS_AT_ONCE:
        return Batch(_position(head), _events(rows))
    # the last revision may be cut: read up to it once more, whole
    last = rows[-1]["revision"]
    rows = await link.rows(sql.format(limit="ALL"), number, last, *arguments)
    head = _first(rows)
    if head["oldest"] > number:
        raise HistoryLost(number, head["oldest"])
    mark = _first(
        await link.rows("SELECT max(mark) AS mark FROM pgwatch.revisions WHERE revision = $1", last)
    )
    return Batch(Position(head["epoch"], last, mark["mark"] or ""), _events(rows))


async def history(
    link: Link, prefix: str, limit: int, before: int | None, *, key: str | None = None
) -> list[Transition]:
    """The newest revisions first, of all keys with the prefix, or of those that touched one."""
    where, arguments = _of_keys(prefix, is_prefix=True, first=3)
    touched = where
    if key is not None:
        touched = f"k.key = ${3 + len(arguments)}"
        arguments.append(key)
    rows = await link.rows(
        f"SELECT {_EVENT}, b.value AS before, x.former, r.at, r.author, r.note, r.mark FROM pgwatch.events x"
        " JOIN pgwatch.revisions r USING (revision)"
        " LEFT JOIN pgwatch.events b ON b.key = x.key AND b.revision = x.former"
        f" WHERE x.revision IN (SELECT DISTINCT k.revision FROM pgwatch.events k WHERE {touched}"
        " AND k.revision < $1 ORDER BY k.revision DESC LIMIT $2)"
        f" AND {where.replace('k.key', 'x.key')} ORDER BY x.revision DESC, x.key",
        before if before is not None else 2**62,
        limit,
        *arguments,
    )
    return [Transition(Event(*row[:6]), *row[6:]) for row in _tuples(rows)]


def by_revision(transitions: Sequence[Transition]) -> list[tuple[int, list[Transition]]]:
    """The transitions of each revision."""
    return [
        (number, list(group)) for number, group in groupby(transitions, key=lambda one: one.event.revision)
    ]


def _of_keys(key: str, *, is_prefix: bool, first: int) -> tuple[str, list[str]]:
    """A condition on `k.key`, and its arguments from number `first` on."""
    if not is_prefix:
        return f"k.key = ${first}", [key]
    end = prefix_end(key)
    if end is None:
        return f"k.key >= ${first}", [key]
    return f"k.key >= ${first} AND k.key < ${first + 1}", [key, end]


def _events(rows: list[Any]) -> list[Event]:
    return [Event(*row[-6:]) for row in _tuples(rows) if row[-6] is not None]


def _tuples(rows: list[Any]) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in rows]


def _first(rows: list[Any]) -> Any:
    if not rows:
        raise NotInstalled("the tables of pgwatch are empty")
    return rows[0]


def _position(head: Any) -> Position:
    return Position(head["epoch"], head["head"], head["mark"])
