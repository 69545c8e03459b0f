"""The process in which requests are judged by rules, apart from the worker; run as a program of its own.

How it works: the process reads the rules once, and forks a judge, which takes requests from the worker, one by one.
Patterns of rules can take minutes for a few kilobytes that were made for it; so the kernel ends a judge that has used
its time of the processor for a request (`ITIMER_PROF`). The first process then tells the worker, and forks the next
judge from what it has in memory, which takes a millisecond. A crash in the library is told in the same way. When the
worker closes the socket, both end.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
from typing import Any

LENGTH = struct.Struct(">II")
NUMBER = struct.Struct(">Q")
MOST_MEMORY = 1 << 30


def send(to: socket.socket, said: Any, body: bytes = b"") -> None:
    """Sends a message: JSON and bytes, with their lengths before them."""
    head = json.dumps(said).encode()
    to.sendall(LENGTH.pack(len(head), len(body)) + head + body)


def received(source: socket.socket) -> tuple[Any, bytes]:
    """The next message; raises `EOFError` where there is none."""
    size, more = LENGTH.unpack(_exactly(source, LENGTH.size))
    return json.loads(_exactly(source, size)), _exactly(source, more)


def main() -> None:
    """Reads the rules from the worker, and judges until it closes the socket."""
    worker = socket.socket(fileno=0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(
            number, signal.SIG_IGN
        )  # they are for the gateway, which closes the socket when it ends
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    orders, _ = received(worker)
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    _modsecurity = importlib.import_module("_modsecurity")  # nothing of the gateway is loaded here

    try:
        engine = _modsecurity.ModSecurity(orders["rules"])
    except OSError as error:
        return send(worker, {"missing": str(error)})
    except ValueError as error:
        return send(worker, {"invalid": str(error)})
    send(worker, {"ready": True})
    current = mmap.mmap(-1, NUMBER.size)
    while True:
        judge = os.fork()
        if judge == 0:
            with contextlib.suppress(EOFError, OSError):
                _judge(worker, engine, _modsecurity.Facts, current, orders["seconds"])
            os._exit(0)
        _, status = os.waitpid(judge, 0)
        (number,) = NUMBER.unpack(current[:])
        if status == 0:
            return None
        if number:
            is_late = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF
            send(worker, {"number": number, "late": is_late, "crashed": not is_late})


def _judge(worker: socket.socket, engine: Any, facts: Any, current: mmap.mmap, seconds: float) -> None:
    while True:
        said, body = received(worker)
        current[:] = NUMBER.pack(said["number"])
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said["fields"]]
        signal.setitimer(signal.ITIMER_PROF, seconds)
        verdict = engine.judge(facts(*said["facts"], fields, body))
        signal.setitimer(signal.ITIMER_PROF, 0)
        current[:] = NUMBER.pack(0)
        send(worker, {"number": said["number"], "verdict": verdict})


def _exactly(source: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = source.recv(min(size, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    main()
