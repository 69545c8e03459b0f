"""Real servers of other kinds for the tests of hooks: started on free ports in temporary folders, stopped exactly."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
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


def opa_program() -> str | None:
    """Open Policy Agent, which Go builds."""
    folder = os.environ.get("GOBIN") or Path(os.environ.get("GOPATH") or Path.home() / "go") / "bin"
    return shutil.which("opa") or shutil.which("opa", path=str(folder))


@contextlib.contextmanager
def opa(folder: Path, policy: str, *, token: str | None = None) -> Iterator[str]:
    """An Open Policy Agent with a policy, which may ask for a bearer token; gives its URL."""
    program = opa_program()
    if program is None:
        raise RuntimeError(f"no opa here; {HINT}")
    port = free_port()
    (folder / "policy.rego").write_text(policy)
    command = [program, "run", "--server", "--disable-telemetry", "--addr", f"127.0.0.1:{port}"]
    if token is not None:
        rules = ("package system.authz", "import rego.v1", "default allow := false")
        (folder / "authz.rego").write_text("\n".join((*rules, f'allow if input.identity == "{token}"\n')))
        command += ["--authentication=token", "--authorization=basic", str(folder / "authz.rego")]
    with (folder / "opa.log").open("wb") as log:
        process = subprocess.Popen([*command, str(folder / "policy.rego")], stdout=log, stderr=log)
    try:
        wait_for_port(port, process, folder / "opa.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


class RedisServer:
    """A redis-server that keeps what was written over a kill (`--appendfsync always`)."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError(f"no redis-server here; {HINT}")
        self.port = free_port()
        self._log = folder / "redis.log"
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        self._command = [program, *place, "--appendonly", "yes", "--appendfsync", "always"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output)
        wait_for_port(self.port, self._process, self._log)

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=20)


class EtcdServer:
    """An etcd of one member."""

    def __init__(self, folder: Path, *options: str, scheme: str = "http") -> None:
        program = shutil.which("etcd")
        if program is None:
            raise RuntimeError(f"no etcd here; {HINT}")
        self.port, peer = free_port(), free_port()
        self._log = folder / "etcd.log"
        client, other = f"{scheme}://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer}"
        self._command = [program, "--data-dir", str(folder / "data"), "--name", "one"]
        self._command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        self._command += ["--listen-peer-urls", other, "--initial-advertise-peer-urls", other]
        self._command += ["--initial-cluster", f"one={other}", *options]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "EtcdServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output)
        wait_for_port(self.port, self._process, self._log)

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=20)


class PostgresServer:
    """A PostgreSQL server with one database, run by an unprivileged user; it can be killed and started again.

    Its data lies beside pytest's folders, which every pytest that starts closes to other users.
    """

    def __init__(self, folder: Path, *, is_durable: bool = False) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        if not programs:
            raise RuntimeError(f"no PostgreSQL in /usr/lib/postgresql; {HINT}")
        self.programs = programs[-1]
        self._home = tempfile.TemporaryDirectory(
            prefix="headgate-postgresql-",
            dir=None if is_durable else _quick_folder(),
            ignore_cleanup_errors=True,
        )
        self.data = Path(self._home.name) / "data"
        self.port = free_port()
        self.url = f"postgresql://gate@127.0.0.1:{self.port}/postgres"
        self._fsync = "on" if is_durable else "off"
        self._log = folder / "postgresql.log"
        self.data.mkdir(mode=0o700)
        user = _unprivileged()
        if user is not None:
            os.chown(self._home.name, user.pw_uid, -1)
            os.chown(self.data, user.pw_uid, -1)
        self._account: dict[str, Any] = (
            {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "PostgresServer":
        self.initialise()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._home.cleanup()

    @classmethod
    @contextlib.contextmanager
    def standby_of(cls, primary: "PostgresServer", folder: Path) -> Iterator["PostgresServer"]:
        """A hot standby."""
        made = cls(folder)
        made.run("pg_basebackup", "-R", "-d", primary.url, "-c", "fast", "-N")
        try:
            made.start()
            yield made
        finally:
            made.kill()
            made._home.cleanup()

    def initialise(self) -> None:
        """Makes an empty cluster."""
        self.run("initdb", "-U", "gate", "-A", "trust", "-N", "--no-locale", "-E", "UTF8")

    def run(self, program: str, *arguments: str) -> None:
        """Runs one of PostgreSQL's programs on the data."""
        with self._log.open("ab") as output:
            command = [str(self.programs / program), "-D", str(self.data), *arguments]
            subprocess.run(
                command, stdout=output, stderr=output, check=True, timeout=120, cwd="/", **self._account
            )

    def start(self) -> None:
        """Starts the server, and waits until it takes queries."""
        serve = [
            str(self.programs / "postgres"),
            "-D",
            str(self.data),
            "-p",
            str(self.port),
            "-h",
            "127.0.0.1",
        ]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [*serve, "-k", "", "-c", f"fsync={self._fsync}"],
                stdout=output,
                stderr=output,
                cwd="/",
                **self._account,
            )
        wait_for_port(self.port, self._process, self._log)
        ready = [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        eventually(lambda: subprocess.run(ready).returncode == 0, "PostgreSQL takes queries", within=40)

    def new_database(self, number: int) -> str:
        """Makes an empty database; gives its name."""
        name = f"test{number}"
        psql = [str(self.programs / "psql"), "-q", "-d", self.url, "-c", f"CREATE DATABASE {name}"]
        subprocess.run(psql, check=True, timeout=60)
        return name

    def kill(self) -> None:
        """Kills it, as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A PostgreSQL server with one database, run by an unprivileged user; gives its URL."""
    with PostgresServer(folder) as server:
        yield server.url


def _quick_folder() -> str | None:
    """A folder in memory, where there is room in it for a few small databases."""
    with contextlib.suppress(OSError):
        room = os.statvfs("/dev/shm")
        if room.f_bavail * room.f_frsize > 4 << 30:
            return "/dev/shm"
    return None


def _unprivileged() -> pwd.struct_passwd | None:
    """Who runs PostgreSQL, which refuses to run as root; `None` when that is this very user."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path, *, within: float = 40) -> None:
    """Waits until something listens there; fails if the process ends."""

    def accepts() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        return False

    eventually(accepts, lambda: f"port {port} accepts:\n{log.read_text(errors='replace')}", within=within)
