"""The supervisor's pid file."""

import contextlib
import os

from headgate.control.runtime import AnyPath, read_pid_file


def write(path: AnyPath, pid: int) -> None:
    """Writes the process id in one step, so that a reader never sees half of it."""
    folder, name = os.path.split(path)
    partial = os.path.join(folder, f".{name}.{pid}")
    with open(partial, "w") as file:
        file.write(f"{pid}\n")
    os.replace(partial, path)


def remove(path: AnyPath, pid: int) -> None:
    """Removes the file unless a successor has written its own id there."""
    with contextlib.suppress(OSError, ValueError):
        if read_pid_file(path) == pid:
            os.unlink(path)
