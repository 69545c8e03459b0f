"""Gives up what a process can give up: files, sockets, other processes, memory beyond a bound.

How it works: what is forbidden fails with EPERM, so that Python raises `PermissionError`. The filter lists what is
allowed; what a kernel gets later is forbidden until it is listed. Namespaces are a second wall where they are allowed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
from typing import Any

PR_SET_PDEATHSIG = 1  # prctl(2)
CLONE_NEW = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
"""Mounts, host name, IPC, users, processes, network: see clone(2)."""

NOBODY = 65534

ALLOWED = (
    *("read", "write", "recvfrom", "sendto", "close", "lseek", "fstat"),
    *("brk", "mmap", "munmap", "mremap", "mprotect", "madvise"),
    *("futex", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    *("getpid", "gettid", "getuid", "geteuid", "getgid", "getegid"),
    *("clock_gettime", "clock_getres", "gettimeofday", "time", "clock_nanosleep", "nanosleep"),
    *("epoll_wait", "epoll_pwait", "epoll_ctl", "poll", "ppoll", "select", "pselect6"),
    *("getrandom", "sched_yield", "uname", "getrusage", "exit", "exit_group"),
)
"""What a process needs that has its source, its memory and one open socket. Not fcntl, by which the kernel can be made
to send signals to other processes of the same user (F_SETOWN).
"""


class NotAllowed(Exception):
    """The system has no way to lock a process down; the text says which."""


def check() -> None:
    """Raises `NotAllowed` where a process cannot be locked down."""
    _library()


def lock_down(memory_bytes: int) -> None:
    """Locks this process down for ever; it may use so many bytes more than now. Raises `NotAllowed`."""
    seccomp = _library()
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    for kind, most in (
        (resource.RLIMIT_AS, used + memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # a container may have taken the right to do so
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    libc.unshare(CLONE_NEW)  # often not allowed in containers: the filter below is enough
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))  # what is open stays
    try:
        rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
        for name in ALLOWED:
            with contextlib.suppress(ValueError):  # machines differ in which of them they have
                rules.add_rule(seccomp.ALLOW, name)
        rules.load()
    except (OSError, RuntimeError) as error:
        raise NotAllowed(f"the kernel takes no seccomp filter: {error}") from None


def _library() -> Any:
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise NotAllowed(f"the library for seccomp cannot be loaded: {error}") from None
    return pyseccomp
