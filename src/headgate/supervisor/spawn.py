"""Starts processes by exec, with exactly the descriptors they are meant to have.

How it works: `posix_spawn` is used rather than `subprocess` because it is safe beside threads, and because
importing less here makes `headgate proxy` ready sooner: the process that workers are forked from is started before
the command line is even parsed.
"""

import os
import signal
import socket
import sys

from headgate.control.channel import CHANNEL_DESCRIPTOR


class Process:
    """A child started by exec: its id, a descriptor that becomes readable when it ends, and our end of its
    channel."""

    def __init__(self, pid: int, end: socket.socket) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.end = end

    def signal(self, number: int) -> None:
        """Sends a signal; a process that has exited already is ignored."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass

    def reap(self) -> int:
        """Collects the ended child: its exit code, or minus the signal that killed it."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        return os.waitstatus_to_exitcode(status)


def spawn(
    module: str,
    arguments: list[str],
    theirs: socket.socket,
    ours: socket.socket,
    *,
    blocked: tuple[signal.Signals, ...] = (),
) -> Process:
    """Starts a module of ours with `theirs` as descriptor 3.

    SIGINT is blocked in it until it has a handler: the terminal sends Ctrl-C to every process of the group,
    and what that means is decided by the supervisor alone. Signals in `blocked` wait for it to unblock them.
    """
    # -P: a `json.py` that happens to lie in the working directory must not shadow the library's.
    command = [sys.executable, "-P", "-m", module, *arguments]
    pid = os.posix_spawn(
        sys.executable,
        command,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), CHANNEL_DESCRIPTOR)],
        setsigmask=[signal.SIGINT, *blocked],
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )
    return Process(pid, ours)


def spawn_successor(environment: dict[str, str], descriptors: list[int], end: socket.socket) -> Process:
    """Starts this same command line again as a new supervisor that inherits `descriptors` under their own
    numbers."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    try:
        arguments = [sys.executable, *sys.orig_argv[1:]]
        pid = os.posix_spawn(
            sys.executable, arguments, os.environ | environment, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ]
        )
    finally:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
    return Process(pid, end)
