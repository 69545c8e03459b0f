"""What a tunnel costs: processor time of the gateway's machine for a request through it, and straight to the server.

    python bench/tunnel.py [--requests 5000] [--connections 8] [--size 5000] [--tls]

The server, the client of the tunnel and the load are other processes, whose time does not count. Three ways: `direct`;
`beside`, on the connections that the client dials beside its tunnel; `frames`, through the tunnel itself
(`--beside 0`). With `--tls` the client of the tunnel speaks TLS, and so does the server that is reached directly.
Rounds are interleaved; the medians are printed.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HEADGATE = Path(os.environ.get("HEADGATE_COMMAND") or Path(sys.executable).parent / "headgate")
TOKEN = "0123456789abcdef0123456789abcdef"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
ROUNDS = 5
SERVER = """
import asyncio, ssl, sys

async def serve(reader, writer):
    body = b"x" * int(sys.argv[2])
    while True:
        try:
            await reader.readuntil(b"\\r\\n\\r\\n")
        except asyncio.IncompleteReadError:
            return writer.close()
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)

async def main():
    context = None
    if len(sys.argv) > 3:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[3], sys.argv[4])
    plain = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    secure = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]) + 1, ssl=context)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def free_port() -> int:
    """A port that nobody listens on, nor on the one after it, most probably."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        port: int = made.getsockname()[1]
        return port


def certificate(folder: Path) -> tuple[str, str]:
    """A certificate for localhost that signs itself, and its key."""
    files = str(folder / "cert.pem"), str(folder / "key.pem")
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*words, *name, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


@contextlib.contextmanager
def started(*words: str, folder: Path, **environment: str) -> Iterator[int]:
    """A process, and all that it starts; its group."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def processor_s(group: int) -> float:
    """The processor time of a group of processes."""
    total = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                total += int(fields[11]) + int(fields[12])
    return total * TICK_S


async def load(port: int, path: str, requests: int, connections: int) -> None:
    """Sends so many requests; raises `RuntimeError` if one fails."""

    async def one(count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: bench.test\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if not head.startswith("http/1.1 200"):
                raise RuntimeError(f"{path}: {head.splitlines()[0]}")
            await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
        writer.close()

    await asyncio.gather(*(one(requests // connections) for _ in range(connections)))


def wait(port: int, path: str) -> None:
    """Until the path is served."""
    for _ in range(300):
        with contextlib.suppress(OSError, RuntimeError, asyncio.IncompleteReadError):
            return asyncio.run(load(port, path, 1, 1))
        time.sleep(0.1)
    raise RuntimeError(f"nothing is served at {path}")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--size", type=int, default=5000, help="of each response, in bytes")
    parser.add_argument("--tls", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tunnel-", dir="/tmp") as made, contextlib.ExitStack() as stack:
        folder, back, front, secure = Path(made), free_port(), free_port(), free_port()
        chain, key = certificate(folder)
        there = f"https://localhost:{back + 1}" if given.tls else f"127.0.0.1:{back}"
        tokens = {"token": TOKEN, "expose": ["beside", "frames"]}
        paths = {
            "/_tunnel": "tunnel:endpoint",
            **{f"/{name}": name for name in ("direct", "beside", "frames")},
        }
        config = {
            "listeners": [
                f"127.0.0.1:{front}",
                {
                    "address": f"127.0.0.1:{secure}",
                    "tls": {"certificates": {"certificate": chain, "key": key}},
                },
            ],
            "workers": 1,
            "tunnels": {"tokens": tokens},
            "upstreams": {
                "direct": {"servers": there, **({"tls": {"ca": chain}} if given.tls else {})},
                "beside": "tunnel:beside",
                "frames": "tunnel:frames",
            },
            "routes": [{"path": path, "to": to} for path, to in paths.items()],
        }
        (folder / "gate.json").write_text(json.dumps(config))
        folders = {"HEADGATE_STATE_DIR": str(folder / "state"), "HEADGATE_RUNTIME_DIR": str(folder / "run")}
        stack.enter_context(
            started(sys.executable, "-c", SERVER, str(back), str(given.size), chain, key, folder=folder)
        )
        gateway = stack.enter_context(started(str(HEADGATE), "run", "gate.json", folder=folder, **folders))
        wait(front, "/direct")
        to = f"https://localhost:{secure}/_tunnel" if given.tls else f"http://127.0.0.1:{front}/_tunnel"
        for name, most in (("beside", "32"), ("frames", "0")):
            words = [
                str(HEADGATE),
                "tunnel",
                "--to",
                to,
                "--expose",
                f"{name}=127.0.0.1:{back}",
                "--beside",
                most,
            ]
            more = ["--ca", chain] if given.tls else []
            stack.enter_context(started(*words, *more, folder=folder, HEADGATE_TUNNEL_TOKEN=TOKEN))
            wait(front, f"/{name}")
        taken: dict[str, list[float]] = {"direct": [], "beside": [], "frames": []}
        for _ in range(ROUNDS):
            for name, found in taken.items():
                asyncio.run(load(front, f"/{name}", 200, given.connections))
                before = processor_s(gateway)
                asyncio.run(load(front, f"/{name}", given.requests, given.connections))
                found.append((processor_s(gateway) - before) / given.requests * 1e6)
        direct = statistics.median(taken["direct"])
        for name, found in taken.items():
            median = statistics.median(found)
            print(
                f"{name:8} {median:8.1f} us of the gateway's processors a request, {median / direct:.2f} x direct"
            )


if __name__ == "__main__":
    main()
