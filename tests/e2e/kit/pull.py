"""A real `headgate pull worker`, started beside a gateway and stopped exactly."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from .gateway import HEADGATE, RunningGateway
from .net import eventually

TOKEN = "0123456789abcdef0123456789abcdef"

HANDLERS = """
import os, time
from headgate import Response
from headgate.pull import Job

def serve(job: Job) -> Response:
    with open("jobs.log", "a") as log:
        log.write(f"{os.getpid()} {job.method} {job.target} {job.attempt}\\n")
    if wait := job.query.get("wait"):
        while not os.path.exists(wait):
            time.sleep(0.01)
    return Response(200, job.body or str(os.getpid()))
"""


class PullWorker:
    """One process that serves with the `serve` of `handlers`."""

    handlers = HANDLERS

    def __init__(
        self,
        gateway: RunningGateway,
        *more: str,
        token: str = TOKEN,
        to: str | None = None,
        handler: str = "handlers:serve",
    ) -> None:
        folder = gateway.folder
        (folder / "handlers.py").write_text(self.handlers)
        self._log = folder / f"pull-{len(list(folder.glob('pull-*.log')))}.log"
        words = [str(HEADGATE), "pull", "worker", handler, "--processes", "1"]
        words += ["--to", to or f"http://{gateway.address}/_workers", *more]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                words,
                cwd=folder,
                env={**os.environ, "HEADGATE_PULL_TOKEN": token},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> "PullWorker":
        try:
            self.wait_connected()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_connected(self, times: int = 1) -> None:
        """Waits until it has connected so often."""
        eventually(lambda: self.log().count("connected to the gateway") >= times, self.log, within=40)

    def log(self) -> str:
        """What it has said."""
        return self._log.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def stop(self) -> None:
        """Ends it as an operator does, also where it is held."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=15)
            return
        self.process.kill()
        self.process.wait(timeout=10)


def figures(gateway: RunningGateway) -> dict[str, Any]:
    """What an autoscaler is told."""
    told: dict[str, Any] = gateway.get("/_queue").json()
    return told


def jobs(gateway: RunningGateway) -> list[str]:
    """What workers have begun with: method, target and attempt."""
    file: Path = gateway.folder / "jobs.log"
    lines = file.read_text().splitlines() if file.exists() else []
    return [line.partition(" ")[2] for line in lines]
