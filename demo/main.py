"""`make demo`: a real origin, a real gateway with a Python hook, one real request; what went in and out.

Serves on until Ctrl-C; with `--once` it ends after the request, with status 0 only if the response was right.
"""

import argparse
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import origin
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).resolve().parent
SENT = {"x-name": "Ada", "user-agent": "headgate-demo"}
screen = Console(highlight=False, soft_wrap=True)


def free_port(wanted: int = 0) -> int:
    """`wanted` if nobody has it, else any free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_port(port: int, process: subprocess.Popen[bytes], name: str, seconds: float = 30) -> None:
    """Returns once somebody accepts on the port; raises if the process ends or the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{name} does not listen on port {port}")


def say(title: str, lines: list[str], style: str) -> None:
    """Prints a titled block; in colour on a terminal only."""
    screen.print(Text(title, style=f"bold {style}"))
    for line in lines:
        screen.print(Text(f"    {line}", style=style))


def ask(port: int) -> tuple[http.client.HTTPResponse, str]:
    """Sends the one request through the gateway."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/greeting?from=demo", headers=SENT)
    response = connection.getresponse()
    return response, response.read().decode()


def show(port: int, origin_name: str) -> bool:
    """Sends the request, prints both sides, and tells whether the hooks did their work."""
    response, body = ask(port)
    sent = ["GET /greeting?from=demo HTTP/1.1", *(f"{name}: {value}" for name, value in SENT.items())]
    say(f"client -> headgate (127.0.0.1:{port})", sent, "cyan")
    say(f"headgate -> {origin_name}: the request hook added", ["x-visitor: ADA"], "yellow")
    fields = [f"{name.lower()}: {value}" for name, value in response.getheaders()]
    received = [f"HTTP/1.1 {response.status} {response.reason}", *fields, "", body.strip()]
    say("headgate -> client: the response hook added x-gateway and x-greeted", received, "green")
    expected = "hello ADA, you asked for /greeting?from=demo"
    right = response.status == 200 and body.strip() == expected
    return right and response.headers["x-gateway"] == "headgate" and response.headers["x-greeted"] == "ADA"


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """Ends what was started, the newest first."""
    for process in reversed(processes):
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--once", action="store_true", help="end after the request")
    once = arguments.parse_args().once
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="headgate-demo-") as folder:
        os.chmod(folder, 0o755)  # nginx's workers may run as another user
        try:
            origin_port, port = free_port(), free_port(0 if once else 8080)
            name, process = origin.start(origin_port, Path(folder))
            processes.append(process)
            await_port(origin_port, process, name)
            command = [str(Path(sys.executable).parent / "headgate"), "run", str(HERE / "gate.py")]
            addresses = {"DEMO_LISTEN": f"127.0.0.1:{port}", "DEMO_ORIGIN": f"127.0.0.1:{origin_port}"}
            processes.append(subprocess.Popen(command, env=os.environ | addresses))
            await_port(port, processes[-1], "headgate")
            right = show(port, name)
            if not right:
                say("the response is wrong", ["hint: the gateway's messages are above"], "red")
                return 1
            if once:
                return 0
            say(
                f"still serving: curl -i -H 'X-Name: Grace' http://127.0.0.1:{port}/",
                ["Ctrl-C ends it"],
                "bold",
            )
            return processes[-1].wait()
        except KeyboardInterrupt:
            return 0
        finally:
            stop(processes)


if __name__ == "__main__":
    sys.exit(main())
