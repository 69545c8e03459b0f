"""Real servers of other kinds for the tests of hooks: started on free ports in temporary folders, stopped exactly."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .net import eventually, free_port

HINT = "hint: `make services` installs what the tests talk to"


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A redis-server; gives its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError(f"no redis-server here; {HINT}")
    port = free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
    try:
        wait_for_port(port, process, folder / "redis.log")
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A PostgreSQL server with one database, run by an unprivileged user; gives its URL."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not programs:
        raise RuntimeError(f"no PostgreSQL in /usr/lib/postgresql; {HINT}")
    data = folder / "data"
    data.mkdir()
    user = _unprivileged()
    if user is not None:
        _let_in(data, user.pw_uid)
    account: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    port = free_port()
    log = folder / "postgresql.log"
    with log.open("wb") as output:
        initdb = [
            str(programs[-1] / "initdb"),
            "-D",
            str(data),
            "-U",
            "gate",
            "-A",
            "trust",
            "-N",
            "--no-locale",
            "-E",
            "UTF8",
        ]
        subprocess.run(initdb, stdout=output, stderr=output, check=True, timeout=120, cwd="/", **account)
        serve = [str(programs[-1] / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1"]
        process = subprocess.Popen(
            [*serve, "-k", "", "-c", "fsync=off"], stdout=output, stderr=output, cwd="/", **account
        )
    try:
        wait_for_port(port, process, log)
        yield f"postgresql://gate@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _unprivileged() -> pwd.struct_passwd | None:
    """Who runs PostgreSQL, which refuses to run as root; `None` when that is this very user."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _let_in(data: Path, uid: int) -> None:
    """Gives the folder to the user, and lets it pass through the folders above."""
    os.chown(data, uid, -1)
    for parent in data.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/") and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until something listens there; fails if the process ends."""

    def accepts() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        return False

    eventually(accepts, lambda: f"port {port} accepts:\n{log.read_text(errors='replace')}", within=40)
