"""The tables of the SQLite store, and what is read from and written to them; each call inside one transaction."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from headgate.stores.base import (
    Change,
    Changes,
    Document,
    Edit,
    Entry,
    Key,
    RegisteredNode,
    Resource,
    Revision,
    Snapshot,
    Transaction,
    new_mark,
)
from headgate.stores.documents import decoded, encoded
from headgate.stores.errors import RevisionCompacted, StoreCorrupt
from headgate.stores.planning import Step, merged, oldest_kept, planned, undone
from headgate.stores.watching import HistoryGap, resumable

MOST_ROWS_AT_ONCE = 5000
VERSION = 1
_SCHEMA = """
CREATE TABLE meta(epoch TEXT NOT NULL, oldest INTEGER NOT NULL);
CREATE TABLE resources(
  kind TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, revision INTEGER NOT NULL,
  PRIMARY KEY(kind, name)) WITHOUT ROWID;
CREATE TABLE revisions(
  number INTEGER PRIMARY KEY, mark TEXT NOT NULL UNIQUE, at REAL NOT NULL, author TEXT NOT NULL, note TEXT NOT NULL);
CREATE TABLE changes(
  number INTEGER NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
  before TEXT, after TEXT, former INTEGER, PRIMARY KEY(number, position)) WITHOUT ROWID;
CREATE INDEX changes_of_key ON changes(kind, name, number);
CREATE TABLE nodes(name TEXT PRIMARY KEY, facts TEXT NOT NULL, boot TEXT NOT NULL, until REAL NOT NULL);
"""


def connect(path: Path, busy_s: float) -> sqlite3.Connection:
    """Opens or makes the file, readable by its owner only; waits at most `busy_s` seconds for other writers."""
    with contextlib.suppress(FileExistsError, OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        _use_wal(connection, busy_s)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        with transaction(connection, writes=_version(connection) == 0):
            version = _version(connection)
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute("INSERT INTO meta VALUES(?, 0)", (new_mark(),))
                connection.execute(f"PRAGMA user_version = {VERSION}")
            else:
                _refuse_version(path, version)
    except BaseException:
        connection.close()
        raise
    return connection


def is_read_only(folder: Path) -> bool:
    """Whether a folder's file system takes no writes."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def connect_read_only(path: Path, busy_s: float) -> sqlite3.Connection:
    """Opens a file on a read-only file system, where SQLite cannot make what its journal needs beside the file."""
    journal = path.with_name(f"{path.name}-wal")
    # with a journal that was left, what is in it counts; without, nothing can change the file
    is_whole = not journal.exists() or journal.stat().st_size == 0
    url = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if is_whole else ''}"
    connection = sqlite3.connect(url, timeout=busy_s, isolation_level=None, check_same_thread=False, uri=True)
    try:
        _refuse_version(path, _version(connection))
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_version(path: Path, version: int) -> None:
    if version != VERSION:
        raise StoreCorrupt(f"`{path}` has version {version}\n  hint: it was created by a newer headgate")


def _use_wal(connection: sqlite3.Connection, busy_s: float) -> None:
    """Changes the journal's mode, for which SQLite does not wait when another process does the same."""
    deadline = time.monotonic() + busy_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, *, writes: bool) -> Iterator[sqlite3.Connection]:
    """One transaction; one that writes has its place before it reads."""
    connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def data_version(connection: sqlite3.Connection) -> int:
    """A number that differs after another connection's commit."""
    connection.execute(
        "SELECT oldest FROM meta"
    )  # a transaction sees what was committed from its first read on
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def head(connection: sqlite3.Connection) -> tuple[Revision, int]:
    """The newest revision, and the oldest number that is kept."""
    row = connection.execute("SELECT epoch, oldest FROM meta").fetchone()
    if row is None:
        raise StoreCorrupt("the SQLite store has lost its epoch")
    newest = connection.execute("SELECT number, mark FROM revisions ORDER BY number DESC LIMIT 1").fetchone()
    return Revision(row[0], *(newest or (0, ""))), row[1]


def snapshot(connection: sqlite3.Connection) -> Snapshot:
    """Everything now."""
    revision, _ = head(connection)
    rows = connection.execute("SELECT kind, name, document, revision FROM resources")
    return Snapshot(revision, MappingProxyType({Key(*row[:2]): _resource(row) for row in rows}))


def _resource(row: tuple[str, str, str, int]) -> Resource:
    key = Key(row[0], row[1])
    return Resource(key, decoded(row[2], str(key)), row[3])


def changes_since(connection: sqlite3.Connection, position: Revision) -> Changes | None:
    """Whole revisions after a position, about `MOST_ROWS_AT_ONCE` changes at most."""
    newest, oldest = head(connection)
    if newest == position:
        return None
    if not resumable(position, newest, oldest, _mark(connection, position.number)):
        raise HistoryGap
    rows = connection.execute(
        "SELECT number, kind, name, after FROM changes WHERE number > ? ORDER BY number, position LIMIT ?",
        (position.number, MOST_ROWS_AT_ONCE),
    ).fetchall()
    last = newest.number
    if len(rows) == MOST_ROWS_AT_ONCE:  # the last revision may be cut: read it whole
        last = rows[-1][0]
        rows = connection.execute(
            "SELECT number, kind, name, after FROM changes WHERE number > ? AND number <= ?"
            " ORDER BY number, position",
            (position.number, last),
        ).fetchall()
    changes = [Change(Key(k, n), decoded(a, f"{k}/{n}") if a else None, number) for number, k, n, a in rows]
    return merged(Revision(newest.epoch, last, _mark(connection, last) or ""), changes)


def _mark(connection: sqlite3.Connection, number: int) -> str | None:
    row = connection.execute("SELECT mark FROM revisions WHERE number = ?", (number,)).fetchone()
    return row[0] if row else ("" if number == 0 else None)


def apply(
    connection: sqlite3.Connection, transaction: Transaction
) -> tuple[Revision, Revision, tuple[Step, ...]]:
    """Does a transaction, once; gives its revision, the one before, and its steps if it was done now."""
    newest, _ = head(connection)
    done = connection.execute("SELECT number FROM revisions WHERE mark = ?", (transaction.mark,)).fetchone()
    if done:
        return Revision(newest.epoch, done[0], transaction.mark), newest, ()

    def current(key: Key) -> Resource | None:
        row = connection.execute(
            "SELECT kind, name, document, revision FROM resources WHERE kind = ? AND name = ?", key
        ).fetchone()
        return _resource(row) if row else None

    steps = planned(transaction, newest, current)
    if not steps:
        return newest, newest, ()
    revision = Revision(newest.epoch, newest.number + 1, transaction.mark)
    connection.execute(
        "INSERT INTO revisions VALUES(?, ?, ?, ?, ?)",
        (revision.number, revision.mark, time.time(), transaction.author, transaction.note),
    )
    for position, step in enumerate(steps):
        _write(connection, revision.number, position, step)
    return revision, newest, steps


def _write(connection: sqlite3.Connection, number: int, position: int, step: Step) -> None:
    key, before, after = step.edit.key, step.edit.before, step.edit.after
    texts = [None if one is None else encoded(one) for one in (before, after)]
    connection.execute(
        "INSERT INTO changes VALUES(?, ?, ?, ?, ?, ?, ?)", (number, position, *key, *texts, step.former)
    )
    if after is None:
        connection.execute("DELETE FROM resources WHERE kind = ? AND name = ?", key)
    else:
        connection.execute("INSERT OR REPLACE INTO resources VALUES(?, ?, ?, ?)", (*key, texts[1], number))


def history(
    connection: sqlite3.Connection, limit: int, before: int | None, key: Key | None
) -> Sequence[Entry]:
    """The newest entries first."""
    newest, _ = head(connection)
    of_key = "" if key is None else " AND number IN (SELECT number FROM changes WHERE kind = ? AND name = ?)"
    rows = connection.execute(
        f"SELECT number, mark, at, author, note FROM revisions WHERE number < ?{of_key}"
        " ORDER BY number DESC LIMIT ?",
        (before if before is not None else newest.number + 1, *(key or ()), limit),
    ).fetchall()
    return [
        Entry(
            Revision(newest.epoch, number, mark),
            datetime.fromtimestamp(at, UTC),
            author,
            note,
            tuple(step.edit for step in _steps(connection, "number = ?", number)),
        )
        for number, mark, at, author, note in rows
    ]


def _steps(connection: sqlite3.Connection, where: str, number: int) -> Iterator[Step]:
    rows = connection.execute(
        f"SELECT kind, name, before, after, former FROM changes WHERE {where} ORDER BY number DESC, position",
        (number,),
    )
    for kind, name, before, after, former in rows:
        documents = [None if one is None else decoded(one, f"{kind}/{name}") for one in (before, after)]
        yield Step(Edit(Key(kind, name), documents[0], documents[1]), former)


def at(connection: sqlite3.Connection, number: int) -> Snapshot:
    """Everything as it was."""
    newest, oldest = head(connection)
    if number > newest.number:
        raise LookupError(f"there is no revision {number} yet\n  hint: the latest is {newest.number}")
    if number < oldest:
        raise RevisionCompacted(number, oldest)
    resources = undone(snapshot(connection).resources, _steps(connection, "number > ?", number))
    mark = _mark(connection, number) or ""
    return Snapshot(Revision(newest.epoch, number, mark), MappingProxyType(resources))


def compact(connection: sqlite3.Connection, keep: int | None, older_than: timedelta | None) -> int:
    """Forgets history."""
    newest, oldest = head(connection)
    last_old = None
    if older_than is not None:
        last_old = connection.execute(
            "SELECT max(number) FROM revisions WHERE at <= ?", (time.time() - older_than.total_seconds(),)
        ).fetchone()[0]
    oldest = oldest_kept(newest.number, oldest, keep=keep, last_old=last_old, by_age=older_than is not None)
    connection.execute("DELETE FROM changes WHERE number < ?", (oldest,))
    connection.execute("DELETE FROM revisions WHERE number < ?", (oldest,))
    connection.execute("UPDATE meta SET oldest = ?", (oldest,))
    return oldest


def announce(connection: sqlite3.Connection, node: str, facts: Document, ttl_s: float) -> None:
    """Registers a node, by a clock that cannot be set (`CLOCK_BOOTTIME`)."""
    until = time.clock_gettime(time.CLOCK_BOOTTIME) + ttl_s
    connection.execute(
        "INSERT OR REPLACE INTO nodes VALUES(?, ?, ?, ?)", (node, encoded(facts), _boot(), until)
    )


def withdraw(connection: sqlite3.Connection, node: str) -> None:
    """Says that a node has gone."""
    connection.execute("DELETE FROM nodes WHERE name = ?", (node,))


def nodes(connection: sqlite3.Connection) -> list[RegisteredNode]:
    """The registered nodes."""
    rows = connection.execute(
        "SELECT name, facts FROM nodes WHERE boot = ? AND until > ? ORDER BY name",
        (_boot(), time.clock_gettime(time.CLOCK_BOOTTIME)),
    )
    return [RegisteredNode(name, decoded(facts, f"node {name}")) for name, facts in rows]


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
