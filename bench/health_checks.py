"""What health checks cost: the CPU time of the monitor while it checks many servers.

    python bench/health_checks.py [--servers 1000] [--interval 1s] [--seconds 20] [--type http]

The servers are listeners of one process that responds to whatever comes. Prints the share of one core, and how many
checks were made a second, as the gateway's own metrics count them.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HEADGATE = Path(os.environ.get("HEADGATE_COMMAND") or Path(sys.executable).parent / "headgate")
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server(asyncio.Protocol):
    """Responds to each request, which comes whole."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self.transport.write(b"+PONG\r\n" if data.startswith(b"*") else RESPONSE)


async def listen(count: int, told: Connection) -> None:
    """Listens on that many ports, and tells them."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Server, "127.0.0.1", 0) for _ in range(count)]
    told.send([server.sockets[0].getsockname()[1] for server in servers])
    await asyncio.Event().wait()


def serve(count: int, told: Connection) -> None:
    """The whole life of the servers' process."""
    asyncio.run(listen(count, told))


def cpu_s(process: int) -> float:
    """What a process has used of the CPU."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def checks(port: int) -> float:
    """Checks made so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        text = response.read().decode()
    return sum(map(float, re.findall(r"^headgate_health_checks_total\{.*\} (\S+)$", text, re.MULTILINE)))


def free_ports(count: int) -> list[int]:
    """That many ports that nobody listens on, all different."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in held]


def status(folder: Path, process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """The gateway's status; None until it serves."""
    command = [str(HEADGATE), "status", "--json", "--pid", str(process.pid), "--runtime-dir", str(folder)]
    done = subprocess.run(command, capture_output=True)
    told: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
    return told


def main() -> None:
    """Measures once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--interval", default="1s")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--type", default="http")
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    servers = multiprocessing.Process(target=serve, args=(options.servers, theirs))
    servers.start()
    addresses = [f"127.0.0.1:{port}" for port in ours.recv()]
    port, metrics = free_ports(2)  # after the servers have theirs
    health = {"type": options.type, "interval": options.interval}
    configuration = {
        "listeners": f"127.0.0.1:{port}",
        "metrics": {"listen": f"127.0.0.1:{metrics}"},
        "upstreams": {"u": {"servers": addresses, "health": health}},
        "routes": [{"to": "u"}],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "gate.json").write_text(json.dumps(configuration))
        command = [str(HEADGATE), "run", str(folder / "gate.json"), "--workers", "1"]
        gateway = subprocess.Popen(command, env={**os.environ, "HEADGATE_RUNTIME_DIR": name})
        try:
            while not (told := status(folder, gateway)) or not told["monitor"]:
                if gateway.poll() is not None:
                    raise SystemExit(f"the gateway ended with {gateway.returncode}; what it printed is above")
                time.sleep(0.1)
            time.sleep(5)  # connections are made in this time
            monitor = told["monitor"]
            began, used, made = time.monotonic(), cpu_s(monitor), checks(metrics)
            time.sleep(options.seconds)
            took = time.monotonic() - began
            share, rate = (cpu_s(monitor) - used) / took, (checks(metrics) - made) / took
        finally:
            gateway.send_signal(signal.SIGTERM)
            gateway.wait(timeout=30)
            servers.terminate()
            servers.join()
    print(f"{rate:.0f} checks/s cost {100 * share:.1f} % of a core, {1e6 * share / max(rate, 1):.0f} us each")


if __name__ == "__main__":
    main()
