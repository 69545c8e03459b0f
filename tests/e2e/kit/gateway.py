"""A real `headgate` process, started from a configuration text and stopped exactly."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .client import RawClient, RawResponse, fetch
from .net import Address, eventually, free_port
from .origin import PROBE_PATH

Source = str | Mapping[str, Any]
"""A configuration: Python text, or the table of a configuration file."""

HEADGATE = Path(os.environ.get("HEADGATE_COMMAND") or Path(sys.executable).parent / "headgate")
"""The command under test: the one installed beside the interpreter that runs the tests, unless the environment says."""


class RunningGateway:
    """A gateway that runs `source`, written to a file of `folder`.

    A text is Python; it gets the constants of `names` and `LISTEN`, the kit's address, on top.
    A table is a configuration file (JSON); it gets `listeners`. `files` are written beside it.
    """

    def __init__(
        self,
        folder: Path,
        source: Source,
        *,
        names: Mapping[str, object] | None = None,
        workers: int = 1,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        listen: Address | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.file = folder / ("gate.py" if isinstance(source, str) else "gate.json")
        self.address = listen or f"127.0.0.1:{free_port()}"
        self.names = dict(names or {})
        self.command = ["run", str(self.file)]
        """What it is started with, before the arguments."""
        self.arguments = ["--workers", str(workers), *arguments]
        folders = {"HEADGATE_RUNTIME_DIR": str(folder / "run"), "HEADGATE_STATE_DIR": str(folder / "state")}
        self.environment = {**os.environ, **folders, **(environment or {})}
        self.stdout = folder / "stdout.log"
        self.stderr = folder / "stderr.log"
        self._probes = 0
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
        self.write(source)
        self.is_started = False
        self.process: subprocess.Popen[bytes]

    def write(self, source: Source) -> None:
        """Writes the configuration (anew), in one step."""
        if isinstance(source, str):
            constants = {"LISTEN": self.address, "FOLDER": str(self.folder), **self.names}
            text = "".join(f"{name} = {value!r}\n" for name, value in constants.items()) + source
        else:
            text = json.dumps({"listeners": self.address, **source}, indent=1)
        staged = self.file.with_name(f".staged-{self.file.name}")
        staged.write_text(text)
        staged.replace(self.file)

    def start(self, *, is_ready: bool = True) -> "RunningGateway":
        """Starts the process and waits for its first response."""
        if not HEADGATE.exists():
            raise RuntimeError(f"{HEADGATE} is missing; hint: `make build` (or `make develop`)")
        with self.stdout.open("ab") as stdout, self.stderr.open("ab") as stderr:
            self.process = subprocess.Popen(
                [str(HEADGATE), *self.command, *self.arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.is_started = True
        if is_ready:
            try:
                self.wait_ready()
            except BaseException:
                self.kill()
                raise
        return self

    def wait_ready(self, within: float = 45) -> None:
        """Waits for any response."""

        def responds() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the gateway ended with status {self.process.returncode}:\n{self.log()}"
                )
            try:
                with RawClient(self.address, timeout=within) as client:
                    return client.get(PROBE_PATH).status >= 200
            except OSError:
                return False

        def told() -> str:
            return f"the gateway responds on {self.address}; its log:\n{self.log()}"

        eventually(responds, told, within=within)
        # The first worker may respond before the last is ready, which is when the supervisor opens its socket.
        eventually(self.control_socket.exists, told, within=within)

    @property
    def control_socket(self) -> Path:
        """Where the supervisor listens for commands."""
        return Path(self.environment["HEADGATE_RUNTIME_DIR"]) / f"{self.process.pid}.sock"

    def stop(self, within: float = 15) -> None:
        """Stops the process as an operator does; fails if it does not end, or if anything in it panicked."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=within)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise AssertionError(
                f"the gateway did not stop within {within} s of SIGTERM:\n{self.log()}"
            ) from error
        eventually(lambda: not group_members(self.process.pid), "no process of the gateway is left", within=5)
        log = self.log()
        assert "panicked at" not in log, log

    def kill(self) -> None:
        """Kills the process and everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the supervisor."""
        self.process.send_signal(number)

    def ask(self, command: str = "status") -> dict[str, Any]:
        """The supervisor's reply to a command on its control socket, with `ok`: whether it was not refused."""
        kind = {"status": "get_status", "hooks": "get_hook_times"}.get(command, command.replace("-", "_"))
        with RawClient(f"unix:{self.control_socket}", timeout=60) as line:
            line.send(json.dumps({"kind": kind, "version": 1}).encode() + b"\n")
            reply: dict[str, Any] = json.loads(line.read_until(b"\n"))
            del reply["version"]
            return {"ok": reply.pop("kind") != "refused", **reply}

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that serve now."""
        return [worker["pid"] for worker in self.ask()["workers"] if worker["state"] == "ready"]

    def counter(self, name: str) -> int:
        """A counter, summed over the workers."""
        counters: dict[str, int] = self.ask()["counters"]
        assert name in counters, f"no counter `{name}`; there are {sorted(counters)}"
        return counters[name]

    def log(self) -> str:
        """What came on stderr so far."""
        return self.stderr.read_text(errors="replace") if self.stderr.exists() else ""

    def output(self) -> str:
        """What came on stdout so far."""
        return self.stdout.read_text(errors="replace") if self.stdout.exists() else ""

    def wait_for_log(self, pattern: str, *, within: float = 10) -> re.Match[str]:
        """The first match of a pattern in the log, waited for."""
        return eventually(
            lambda: re.search(pattern, self.log()),
            f"{pattern!r} in the log:\n{self.log()[-3000:]}",
            within=within,
        )

    def access_records(self, file: Path | None = None) -> list[dict[str, Any]]:
        """The complete lines of the JSON access log (a file, else stdout), probes apart."""
        text = file.read_text() if file and file.exists() else self.output() if file is None else ""
        records = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("}\n")]
        return [record for record in records if not str(record.get("target", "")).startswith(PROBE_PATH)]

    def access_record(
        self, file: Path | None = None, *, within: float = 10, **wanted: object
    ) -> dict[str, Any]:
        """The first record whose fields are as wanted, waited for."""

        def find() -> dict[str, Any] | None:
            for record in self.access_records(file):
                if all(record.get(name) == value for name, value in wanted.items()):
                    return record
            return None

        record = eventually(find, f"an access record with {wanted}", within=within)
        assert record is not None
        return record

    def client(self, timeout: float = 10) -> RawClient:
        """A new connection to the gateway."""
        return RawClient(self.address, timeout)

    def get(self, target: str, fields: Sequence[tuple[str, str]] = (), **options: Any) -> RawResponse:
        """A GET on a connection of its own."""
        return fetch(self.address, target, fields, **options)

    def post(
        self, target: str, body: bytes = b"", fields: Sequence[tuple[str, str]] = (), **options: Any
    ) -> RawResponse:
        """A POST on a connection of its own."""
        return fetch(self.address, target, fields, method="POST", body=body, **options)

    def cli(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs a `headgate` command in the gateway's folder."""
        return run_cli(*arguments, cwd=self.folder, environment=self.environment, timeout=timeout)


def run_cli(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs a `headgate` command to its end; output without colour, in wide lines."""
    return subprocess.run(
        [str(HEADGATE), *arguments],
        cwd=cwd,
        env={**(environment or os.environ), "NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class Serve:
    """`serve(source, **options)` starts a gateway in a folder of its own; `stop` stops them all."""

    def __init__(self, parent: Path) -> None:
        self.parent = parent
        self.gateways: list[RunningGateway] = []

    def __call__(self, source: Source, *, is_ready: bool = True, **options: Any) -> RunningGateway:
        folder = self.parent / f"gate{len(self.gateways)}"
        folder.mkdir()
        gateway = RunningGateway(folder, source, **options)
        self.gateways.append(gateway)
        return gateway.start(is_ready=is_ready)

    def stop(self) -> None:
        """Stops every gateway that was started, even if some of them fail to stop."""
        with contextlib.ExitStack() as stack:
            for gateway in self.gateways:
                if gateway.is_started:
                    stack.callback(gateway.stop)

    def logs(self) -> str:
        """The end of each gateway's log, for the report of a failed test."""
        return "\n".join(f"--- {gateway.file}\n{gateway.log()[-5000:]}" for gateway in self.gateways)


def group_members(group: int) -> list[int]:
    """The live processes of a process group, oldest first."""
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] not in "ZX":
                members.append((int(fields[19]), int(entry.name)))
    return [pid for _, pid in sorted(members)]
