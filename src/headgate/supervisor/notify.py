"""Tells systemd how the service is doing: the `sd_notify` datagram, written by hand because it is ten lines.

Source: sd_notify(3). Without `NOTIFY_SOCKET` in the environment every call does nothing.
"""

import os
import socket
import time


def notify(*lines: str) -> bool:
    """Sends state lines such as `READY=1` to the service manager; true if there is one and it took them."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as datagrams:
            datagrams.sendto("\n".join(lines).encode(), address)
    except OSError:
        return False
    return True


def ready(pid: int) -> bool:
    """The service serves; `pid` is its main process (another one after an upgrade)."""
    return notify("READY=1", f"MAINPID={pid}")


def reloading() -> bool:
    """A reload began; systemd wants the monotonic time of it too (`Type=notify-reload`)."""
    return notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> bool:
    """The service shuts down."""
    return notify("STOPPING=1")
