"""The gateways under test: their ports by role, how each is started, pinned, reloaded and stopped."""

import collections
import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from . import cost
from .place import GATEWAY_CPU, PEERS_VENV, RUN

BIN = Path(
    sys.executable
).parent  # where pip put the servers of ASGI applications, if somebody installed them
APP = "asgi_app:app"  # in bench/gates, which is on the path


@dataclass
class Program:
    """A command that serves some of a gateway's roles."""

    command: str
    roles: tuple[str, ...]


@dataclass
class Proxy:
    """One gateway: its ports by role, the programs that serve them (none: someone else started it)."""

    name: str
    ports: dict[str, int]
    programs: list[Program] = field(default_factory=list)
    reload: str | None = None
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)  # by first role

    def is_installed(self) -> bool:
        """Whether the programs can be started here."""
        return all(shutil.which(program.command.split()[0]) for program in self.programs)

    def start(self, roles: set[str]) -> None:
        """Starts the programs that serve `roles`, pinned to the gateways' CPU, and waits for their ports."""
        for program in self.programs:
            if not roles & set(program.roles):
                continue
            if taken := [r for r in program.roles if r in self.ports and cost.listeners(self.ports[r])]:
                sys.exit(f"{self.name}: somebody else listens for {', '.join(taken)}")
            with open(RUN / f"{self.name}.log", "ab") as log:
                self.running[program.roles[0]] = subprocess.Popen(
                    ["taskset", "-c", str(GATEWAY_CPU), *shlex.split(program.command)],
                    cwd=RUN,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=os.environ | {"GOMAXPROCS": "1", "HOME": str(RUN), "PYTHONPATH": python_path()},
                )
        for role in sorted(roles & set(self.ports)):
            await_port(self.ports[role], f"{self.name} ({role})", 60)
            if any(os.sched_getaffinity(pid) != {GATEWAY_CPU} for pid in self.pids(self.ports[role])):
                print(f"warning: {self.name} is not pinned to one CPU", file=sys.stderr)

    def stop(self) -> None:
        """Ends what was started."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(8)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running = {}

    def restart(self, roles: set[str]) -> None:
        """A fresh process, for scenarios that measure memory."""
        if self.programs:
            self.stop()
            self.start(roles)

    def pids(self, port: int) -> list[int]:
        """The processes that do this port's work: those we started, or the listeners; with all descendants."""
        children = collections.defaultdict(list)
        listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True).stdout
        for line in listing.splitlines():
            pid, parent = map(int, line.split())
            children[parent].append(pid)

        def tree(*roots: int) -> list[int]:
            found = list(roots)
            for pid in found:
                found += [child for child in children[pid] if child not in found]
            return found

        listening = cost.listeners(port)
        ours = (tree(process.pid) for process in self.running.values())
        return next((pids for pids in ours if set(pids) & set(listening)), tree(*listening))

    def do_reload(self, serial: int) -> bool:
        """Runs the reload command; true if it succeeded."""
        assert self.reload is not None  # callers ask first
        process = self.running.get("plain")
        pid = process.pid if process else cost.listeners(self.ports["plain"])[0]
        command = self.reload.format(pid=pid, serial=serial)
        return subprocess.run(command, shell=True, capture_output=True, cwd=RUN).returncode == 0


def python_path() -> str:
    """Where the ASGI servers find their application."""
    gates = str(Path(__file__).resolve().parents[1] / "gates")
    return os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), gates)))


def await_port(port: int, what: str, seconds: float = 60) -> None:
    """Returns once somebody accepts on the port; ends the run if nobody does in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    sys.exit(f"{what}: nobody listens on {port}; see {RUN}/*.log")


def await_response(port: int, what: str, path: str = "/5k", seconds: float = 60) -> None:
    """Returns once `path` gets a 200; ends the run if it does not in time.

    A port that accepts is not enough: Traefik listens before it has read its routes, and says 404 until then.
    """
    end, seen = time.monotonic() + seconds, "no response"
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
                response.read()
            return
        except OSError as error:  # a status of 400 or above is one, too
            seen = str(error)
        time.sleep(0.05)
    sys.exit(f"{what}: {path} got no 200 on {port}: {seen}; see {RUN}/*.log")


def roles(base: int, *names: str) -> dict[str, int]:
    """Consecutive ports for the named roles."""
    return {name: base + i for i, name in enumerate(names)}


def peers() -> dict[str, Proxy]:
    """The gateways we compare with; Envoy, Caddy and Traefik come from PyPI packages in a virtual environment."""
    web = ("plain", "tls", "ec", "routes")
    shared = ("plain", "tls", "ec")
    library = next(iter(PEERS_VENV.glob("lib/python3*/site-packages")), Path("missing"))
    envoy = f"{library}/envoy/_bin/envoy --concurrency 1 --disable-hot-restart -l error -c "
    caddy = f"{PEERS_VENV}/bin/caddy run --adapter caddyfile --config "
    traefik = f"{PEERS_VENV}/bin/traefik --configFile="
    caddy_reload = (
        "curl -sf -H Content-Type:text/caddyfile -H Cache-Control:must-revalidate "
        "--data-binary @Caddyfile http://127.0.0.1:21049/load"
    )
    listed = (
        Proxy(
            "nginx",
            roles(21010, *web, "log", "logbuf", "h2c"),
            [
                Program(f"nginx -c {RUN}/nginx.conf", (*shared, "log", "logbuf", "h2c")),
                Program(f"nginx -c {RUN}/nginx-routes.conf", ("routes",)),
            ],
            "kill -HUP {pid}",
        ),
        Proxy(
            "haproxy",
            roles(21020, *web, "sni", "h2c"),
            [
                Program(f"haproxy -W -f {RUN}/haproxy.cfg", (*shared, "sni", "h2c")),
                Program(f"haproxy -f {RUN}/haproxy-routes.cfg", ("routes",)),
            ],
            "kill -USR2 {pid}",
        ),
        Proxy(
            "envoy",
            roles(21030, *web),
            [
                Program(f"{envoy}{RUN}/envoy.yaml", shared),
                Program(f"{envoy}{RUN}/envoy-routes.yaml", ("routes",)),
            ],
            "sed -E s/timeout:.30[0-9]+s/timeout:\\ 30{serial}s/ envoy-rds.yaml >new.yaml && "
            "mv new.yaml envoy-rds.yaml",
        ),
        Proxy(
            "caddy",
            roles(21040, *web),
            [
                Program(f"{caddy}{RUN}/Caddyfile", shared),
                Program(f"{caddy}{RUN}/Caddyfile-routes", ("routes",)),
            ],
            caddy_reload,
        ),
        Proxy(
            "traefik",
            {"plain": 21050, "tls": 21051, "routes": 21053},
            [
                Program(f"{traefik}{RUN}/traefik.yml", ("plain", "tls")),
                Program(f"{traefik}{RUN}/traefik-routes.yml", ("routes",)),
            ],
            "sed -E s/plain[0-9]*:/plain{serial}:/ traefik-dynamic.yml >new.yml && mv new.yml traefik-dynamic.yml",
        ),
        Proxy(
            "uvicorn",
            {"asgi": 21071},
            [Program(f"{BIN}/uvicorn {APP} --port 21071 --no-access-log", ("asgi",))],
        ),
        Proxy(
            "granian",
            {"asgi": 21072},
            [
                Program(
                    f"{BIN}/granian {APP} --interface asgi --port 21072 --no-log --no-access-log", ("asgi",)
                )
            ],
        ),
        Proxy(
            "lua",
            roles(21060, "plain", "headers", "body", "dict", "redis", "fetch", "replace"),
            [
                Program(
                    f"nginx -c {RUN}/nginx-lua.conf",
                    ("plain", "headers", "body", "dict", "redis", "fetch", "replace"),
                )
            ],
        ),
    )
    return {proxy.name: proxy for proxy in listed}
