"""Servers of StatsD: StatsD itself, which npm has, and Prometheus' statsd_exporter, which reads tags."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .client import fetch
from .metrics import Scrape, read
from .net import free_port
from .receivers import running
from .services import HINT

VERSION = "0.9.0"


@dataclass(frozen=True)
class Statsd:
    """A running StatsD that flushes to nobody: what it has counted stays in it."""

    port: int
    management: int

    def numbers(self, kind: str) -> dict[str, float]:
        """Its `counters` or `gauges`, by name."""
        return {
            name: float(number)
            for name, number in re.findall(r"'?([\w.:-]+)'?: (-?[0-9.]+)", self._ask(kind))
        }

    def times(self, name: str) -> list[float]:
        """What it has of a timer, in milliseconds."""
        found = re.search(rf"'?{re.escape(name)}'?: \[([^\]]*)\]", self._ask("timers"))
        return [float(one) for one in found[1].split(",") if one.strip()] if found else []

    def _ask(self, kind: str) -> str:
        with socket.create_connection(("127.0.0.1", self.management), timeout=20) as line:
            line.sendall(f"{kind}\n".encode())
            said = b""
            while b"END\n" not in said:
                said += line.recv(65536)
        return said.decode()


def node_and_npm() -> bool:
    """Whether StatsD can be had here."""
    return bool(shutil.which("node") and shutil.which("npm"))


@contextlib.contextmanager
def statsd(folder: Path) -> Iterator[Statsd]:
    """StatsD, which npm fetches once into a cache folder."""
    made = Statsd(free_port(), free_port())
    settings = {
        "address": "127.0.0.1",
        "port": made.port,
        "mgmt_address": "127.0.0.1",
        "mgmt_port": made.management,
    }
    settings |= {"backends": [], "flushInterval": 3_600_000}
    (folder / "config.js").write_text(json.dumps(settings))
    command = ["node", str(_fetched() / "node_modules/statsd/stats.js"), str(folder / "config.js")]
    with running(command, folder / "statsd.log", made.management):
        yield made


@dataclass(frozen=True)
class Exporter:
    """A running statsd_exporter."""

    port: int
    address: str

    def scrape(self) -> Scrape:
        """The numbers that it shows to Prometheus."""
        return read(fetch(self.address, "/metrics").body.decode())


@contextlib.contextmanager
def statsd_exporter(program: str, folder: Path) -> Iterator[Exporter]:
    """A statsd_exporter without rules of its own."""
    made = Exporter(free_port(), f"127.0.0.1:{free_port()}")
    options = [f"--statsd.listen-udp=127.0.0.1:{made.port}", "--statsd.listen-tcp="]
    command = [program, *options, f"--web.listen-address={made.address}"]
    with running(command, folder / "statsd_exporter.log", int(made.address.rpartition(":")[2])):
        yield made


def _fetched() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "headgate-tests" / f"statsd-{VERSION}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-save", "--ignore-scripts", "--omit=optional", f"statsd@{VERSION}"]
        fetched = subprocess.run(
            [*command, "--prefix", str(folder)], cwd=folder, capture_output=True, text=True, timeout=300
        )
        if fetched.returncode:
            raise RuntimeError(f"npm cannot fetch StatsD: {fetched.stderr[-2000:]}; {HINT}")
        (folder / "complete").touch()
    return folder
