"""Who takes part in seeing.py beside the gateways: a collector of traces, and clients that ask for their own labels."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

from .place import LOAD_CPU
from .proxies import await_port

COLLECTOR = 21098
AT_ONCE = 50
_SERVER = """
import asyncio

async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            lines = head.lower().split(b"\\r\\n")
            await reader.readexactly(next(int(one[15:]) for one in lines if one.startswith(b"content-length:")))
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nContent-Type: application/json\\r\\n\\r\\n{}")
    except (asyncio.IncompleteReadError, OSError):
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", PORT, limit=1 << 24)
    await server.serve_forever()

asyncio.run(main())
"""


@contextlib.contextmanager
def collector(port: int = COLLECTOR) -> Iterator[None]:
    """Takes traces by OTLP over HTTP and forgets them, on the load's CPU."""
    code = _SERVER.replace("PORT", str(port))
    process = subprocess.Popen(["taskset", "-c", str(LOAD_CPU), sys.executable, "-c", code])
    try:
        await_port(port, "the collector", 20)
        yield
    finally:
        process.terminate()
        process.wait()


def hostile_requests(port: int, count: int, *, are_alike: bool = False) -> None:
    """So many requests, each with a host, a path, a method and fields that nobody else has sent, or all the same."""
    alike = _request()
    with socket.create_connection(("127.0.0.1", port)) as line:
        received = line.makefile("rb")
        sent = 0
        while sent < count:
            some = min(AT_ONCE, count - sent)
            line.sendall(b"".join(alike if are_alike else _request() for _ in range(some)))
            for _ in range(some):
                _skip_response(received)
            sent += some


def _request() -> bytes:
    made = os.urandom(8).hex()
    method = "".join(chr(ord("A") + ord(one) % 26) for one in made)
    return (
        f"{method} /{made}?{made}=1 HTTP/1.1\r\nHost: {made}.example\r\nUser-Agent: {made}\r\n"
        f"traceparent: 00-{made}{made}-{made}-01\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def _skip_response(received: object) -> None:
    length = 0
    while (line := received.readline()) not in (b"\r\n", b""):  # type: ignore[attr-defined]
        if line.lower().startswith(b"content-length:"):
            length = int(line[15:])
    received.read(length)  # type: ignore[attr-defined]
