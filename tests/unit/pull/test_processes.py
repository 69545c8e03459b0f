"""Several processes: replaced when they exit, ended together, given up where the token is wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from e2e.kit import eventually

PROGRAM = """
import os, signal, sys, time
from headgate.pull.processes import run_processes

def run():
    open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()
    if sys.argv[2] == "refused":
        raise PermissionError("no")
    signal.pause()

run_processes(2, run)
"""


def started(folder: Path, what: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM, str(folder), what]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_process_that_is_killed_is_replaced_and_all_end_together(tmp_path: Path) -> None:
    with started(tmp_path, "serve") as parent:
        eventually(lambda: len(os.listdir(tmp_path)) == 2, "two run")
        os.kill(int(os.listdir(tmp_path)[0]), signal.SIGKILL)
        eventually(lambda: len(os.listdir(tmp_path)) == 3, "a third one runs")
        parent.terminate()
        assert parent.wait(timeout=30) == 0
    assert not [pid for pid in os.listdir(tmp_path) if Path("/proc", pid).exists()]


def test_wrong_token_is_not_tried_for_ever(tmp_path: Path) -> None:
    with started(tmp_path, "refused") as parent:
        _, said = parent.communicate(timeout=30)
    assert parent.returncode == 1
    assert b"PermissionError: the gateway does not accept the token" in said
