"""What people send logs and traces to: VictoriaLogs, which takes Loki's push API, and Jaeger, which takes OTLP.

`tools/services.sh` builds them with Go; a test whose program is not there is skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .net import free_port
from .services import HINT, wait_for_port


def program(name: str) -> str | None:
    """Where Go has installed a program."""
    go = os.environ.get("GOPATH") or str(Path.home() / "go")
    folders = [os.environ.get("GOBIN", ""), f"{go}/bin"]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(filter(None, folders)))


@dataclass(frozen=True)
class VictoriaLogs:
    """A running one."""

    address: str

    @property
    def push(self) -> str:
        """Where it takes Loki's push API; it shows the target as the message of a line."""
        return f"http://{self.address}/insert/loki/api/v1/push?_msg_field=target"

    def query(self, query: str) -> list[dict[str, str]]:
        """The lines that a query of LogsQL finds, as fields, in the order of their times."""
        text = _get(f"http://{self.address}/select/logsql/query", {"query": f"{query} | sort by (_time)"})
        return [json.loads(line) for line in text.splitlines()]


@contextlib.contextmanager
def victoria_logs(folder: Path, port: int = 0) -> Iterator[VictoriaLogs]:
    """A VictoriaLogs that keeps its data in that folder."""
    port = port or free_port()
    options = [f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder}/data", "-loggerLevel=WARN"]
    with running([_needed("victoria-logs"), *options], folder / "victoria-logs.log", port):
        yield VictoriaLogs(f"127.0.0.1:{port}")


def _get(url: str, query: Mapping[str, str]) -> str:
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=20) as response:
        return str(response.read().decode())


@contextlib.contextmanager
def running(command: list[str], log: Path, port: int, *, within: float = 40) -> Iterator[None]:
    """A program that is to listen on a port, until it is left."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        wait_for_port(port, process, log, within=within)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _needed(name: str) -> str:
    found = program(name)
    if found is None:
        raise RuntimeError(f"no {name} here; {HINT}")
    return found
