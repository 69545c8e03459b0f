"""A job process: does one job after another for the worker that started it, and ends with it.

How it works: it has a lower priority than the workers, so that they get a core as soon as they want one. The kernel
ends it when its worker exits, even within a job. The user's file is loaded when a job first names something of it.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from headgate import _core
from headgate.background.job_wire import LENGTH, Unsendable, packed, unpacked

PR_SET_PDEATHSIG = 1  # prctl(2)
LONGEST_MESSAGE_BYTES = 16 << 20
MOST_DESCRIPTORS = 200


def main() -> NoReturn:
    """The whole life of the process."""
    line = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(line.fileno(), False)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's
    setting, descriptors = _setting(line)
    if os.getppid() != setting["parent"]:
        sys.exit(0)  # it exited before the kernel was asked
    lower_priority(setting["nice"])
    sys.path[:] = setting["path"]
    jobs = _Jobs(setting, descriptors)
    while True:
        frame = _read(line, LENGTH.size)
        line.sendall(jobs.do(_read(line, LENGTH.unpack(frame)[0])))


def lower_priority(nice: int) -> None:
    """Gives way to the workers: a nice value, and the scheduling of batch work (sched(7))."""
    os.nice(nice)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class _Jobs:
    def __init__(self, setting: dict[str, Any], descriptors: list[int]) -> None:
        self._file = setting["users_file"]
        self._dictionaries = dict(zip(setting["dictionaries"], descriptors, strict=True))

    def do(self, frame: bytearray) -> bytes:
        """Runs a job and returns the frame to reply with."""
        try:
            function, arguments = unpacked(frame, self._load_users_file)
            return packed((True, function(*arguments), ""), "the job's result")
        except BaseException as error:
            return _failure(error)

    def _load_users_file(self, module: str) -> None:
        if self._file is None or module != self._file["module"] or module in sys.modules:
            return
        from headgate import shared
        from headgate.compile.module import load_as

        shared.OPENER.set(self._open)
        load_as(**self._file)

    def _open(self, name: str, size: int) -> int:
        # What the worker has not opened is private to this process.
        known = self._dictionaries.get(name)
        return _core.create_dictionary(size) if known is None else os.dup(known)


def _failure(error: BaseException) -> bytes:
    trace = "".join(traceback.format_exception(error))
    if not isinstance(error, Exception):  # it would end the worker as well
        error = RuntimeError(f"the job raised {type(error).__name__}: {error}")
    try:
        return packed((False, error, trace), "the job's exception")
    except Unsendable:
        return packed((False, RuntimeError(f"{type(error).__name__}: {error}"), trace), "its text")


def _setting(line: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, descriptors, _, _ = socket.recv_fds(line, LENGTH.size, MOST_DESCRIPTORS)
    if not data:
        sys.exit(0)
    (length,) = LENGTH.unpack(data + bytes(_read(line, LENGTH.size - len(data))))
    if length > LONGEST_MESSAGE_BYTES:
        raise ValueError(f"the first message has `{length}` bytes")
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return json.loads(bytes(_read(line, length))), list(descriptors)


def _read(line: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = line.recv_into(view)
        if not count:
            sys.exit(0)  # the worker has exited, or ends this process
        view = view[count:]
    return data


if __name__ == "__main__":
    main()
