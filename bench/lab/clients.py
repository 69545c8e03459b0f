"""Clients that wrk and h2load cannot play; they pin themselves to the load's CPU.

clients.py paced PORT PATH RATE SECS   evenly paced requests over 100 connections; prints latencies as JSON
clients.py idle PORT N [tls]           N connections, one request each, then `ready N`, until stdin closes
clients.py slow PORT N BYTES_PER_S     N connections that read /1m at that speed, until stdin closes
"""

import collections
import json
import os
import re
import resource
import select
import socket
import ssl
import sys
import time

HOST = "127.0.0.1"


def connect(port: int, tls: ssl.SSLContext | None = None, far: bool = False) -> socket.socket:
    """A connection; a `far` one looks like the internet to the gateway's kernel.

    That is Ethernet's MSS and a small window: loopback's 64 KB segments give each socket a send buffer of over
    1 MB, which would swallow the whole response of a slow client.
    """
    s = socket.socket()
    if far:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.settimeout(30)
    s.connect((HOST, port))
    return tls.wrap_socket(s, server_hostname="localhost") if tls else s


def request_for(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-User: me\r\n\r\n".encode()


def missing(data: bytes) -> int:
    """How many bytes of this response are still to come (1 while its head is not complete)."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return 1
    length = re.search(rb"(?i)\ncontent-length: *(\d+)", data[:end])
    return end + 4 + int(length[1] if length else 0) - len(data)


def fetch(s: socket.socket, path: str) -> bytes:
    """One request and its whole response."""
    s.sendall(request_for(path))
    data = b""
    while not data or missing(data) > 0:
        more = s.recv(65536)
        if not more:
            raise ConnectionError("closed early")
        data += more
    return data


def paced(port: int, path: str, rate: float, seconds: float, connections: int = 100) -> None:
    """Sends `rate` requests a second, evenly, and prints what latency they saw."""
    free = collections.deque(connect(port) for _ in range(connections))
    for s in free:
        fetch(s, path)
    request, step = request_for(path), 1 / rate
    waiting: dict[socket.socket, tuple[float, bytearray]] = {}
    took, errors = [], 0
    due = time.perf_counter() + step
    end = due + seconds
    while due < end or waiting:
        now = time.perf_counter()
        if now > end + 2:
            errors += len(waiting)
            break
        while now >= due and due < end and free:
            s = free.popleft()
            s.send(request)
            waiting[s] = (max(now, due), bytearray())
            due += step
            now = time.perf_counter()
        for s in select.select(list(waiting), (), (), max(0, min(due, end + 2) - now))[0]:
            start, data = waiting[s]
            more = s.recv(65536)
            data += more
            if more and missing(bytes(data)) > 0:
                continue
            took.append(time.perf_counter() - start)
            errors += not more or not data.startswith(b"HTTP/1.1 200")
            del waiting[s]
            free.append(s if more else connect(port))
    took.sort()
    p50, p99 = (took[int(q * len(took))] * 1e3 for q in (0.5, 0.99))
    mean = sum(took) / len(took) * 1e3
    print(json.dumps({"n": len(took), "errors": errors, "mean": mean, "p50": p50, "p99": p99}))


def idle(port: int, count: int, tls: bool) -> None:
    """Holds connections that have served one request each."""
    context = ssl._create_unverified_context() if tls else None
    held = []
    try:
        for _ in range(count):
            s = connect(port, context)
            held.append(s)
            fetch(s, "/5k")
    except OSError as error:
        print(error, file=sys.stderr)
    print("ready", len(held), flush=True)
    sys.stdin.read()


def slow(port: int, count: int, speed: float) -> None:
    """Reads 1 MB responses at `speed` bytes a second over many connections."""
    sockets = []
    for _ in range(count):
        s = connect(port, far=True)
        s.send(request_for("/1m"))
        s.setblocking(False)
        sockets.append(s)
    print("ready", count, flush=True)
    tick, lost = 0.1, 0
    while not select.select([sys.stdin], (), (), tick)[0]:
        for s in sockets:
            try:
                lost += not s.recv(int(speed * tick))
            except BlockingIOError:
                pass
    print("lost", lost, flush=True)


def main() -> None:
    os.sched_setaffinity(0, {1})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    kind, port, *rest = sys.argv[1:]
    if kind == "paced":
        paced(int(port), rest[0], float(rest[1]), float(rest[2]))
    elif kind == "idle":
        idle(int(port), int(rest[0]), tls=len(rest) > 1)
    else:
        slow(int(port), int(rest[0]), float(rest[1]))


if __name__ == "__main__":
    main()
