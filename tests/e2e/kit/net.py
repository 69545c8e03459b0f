"""Addresses, free ports and waiting with a deadline."""

import contextlib
import os
import random
import socket
import struct
import time
from collections.abc import Callable
from typing import TypeVar

Address = str
"""An address as the gateway writes it: `127.0.0.1:80`, `[::1]:80` or `unix:/path`."""

T = TypeVar("T")

# Below the kernel's range for outgoing connections, so that none of those takes the port in between.
PORTS = range(18_000, 32_000)
# What this process has given out, so that no two servers of one test get the same before either listens.
_given: set[int] = set()


def own_ports(worker: str) -> range:
    """The ports of one of the processes that pytest-xdist spreads the tests over; all of them without a name."""
    number = int(worker.removeprefix("gw") or 0) % 14
    return PORTS[number * 1000 : (number + 1) * 1000] if worker else PORTS


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on right now, and that was not given out for as long as there are others."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = own_ports(os.environ.get("PYTEST_XDIST_WORKER", ""))
    for _ in range(2):
        for port in random.sample(ports, len(ports)):
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                with contextlib.suppress(OSError):
                    if port not in _given:
                        probe.bind((host, port))
                        _given.add(port)
                        return port
        _given.clear()
    raise RuntimeError("no free port between 18000 and 32000")


def split_address(address: Address) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    """The socket family and the socket address of an address."""
    if address.startswith("unix:"):
        return socket.AF_UNIX, address.removeprefix("unix:")
    host, _, port = address.rpartition(":")
    if host.startswith("["):
        return socket.AF_INET6, (host.strip("[]"), int(port))
    return socket.AF_INET, (host, int(port))


def connect(address: Address, timeout: float = 10, *, receive_buffer: int | None = None) -> socket.socket:
    """A connected stream socket; `receive_buffer` bounds what the kernel takes for a slow reader."""
    family, target = split_address(address)
    connection = socket.socket(family, socket.SOCK_STREAM)
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(timeout)
    try:
        connection.connect(target)
    except BaseException:
        connection.close()
        raise
    if family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def reset(connection: socket.socket) -> None:
    """Closes a TCP connection with RST instead of FIN."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def eventually(condition: Callable[[], T | None], what: str | Callable[[], str], *, within: float = 10) -> T:
    """The first true value of `condition`, polled for `within` seconds; then an assertion naming `what`."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {within} s: {told}; last value: {value!r}")
        time.sleep(0.01)
