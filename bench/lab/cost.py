"""What processes cost in CPU seconds, memory and bytes written, and how fast the CPU itself is just now."""

import contextlib
import os
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Iterable

from .place import GATEWAY_CPU, LAB

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def listeners(port: int) -> list[int]:
    """The processes that listen on a TCP port (an nginx master and its workers all do)."""
    command = ["ss", "-Htlnp", f"sport = :{port}"]
    out = subprocess.run(command, capture_output=True, text=True).stdout
    return sorted({int(p) for p in re.findall(r"pid=(\d+)", out)})


def cpu(pids: Iterable[int]) -> tuple[float, float]:
    """User and system CPU seconds so far, ended threads included; the sum is exact, the split to a tick."""
    user = system = 0.0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        user_ticks, system_ticks = int(fields[11]), int(fields[12])
        total = time.clock_gettime(~pid << 3 | 2)  # the process's CPU clock (CPUCLOCK_SCHED), in nanoseconds
        share = user_ticks / (user_ticks + system_ticks) if user_ticks + system_ticks else 0.0
        user += total * share
        system += total * (1 - share)
    return user, system


def memory(pids: Iterable[int]) -> float:
    """Resident MB, pages that processes share counted once (their summed PSS)."""
    kilobytes = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            found = re.search(r"^Pss: +(\d+)", rollup.read(), re.M)
        kilobytes += int(found[1]) if found else 0
    return kilobytes / 1024


def written(pids: Iterable[int]) -> float:
    """MB that the processes had written to disk so far."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/io") as io:
            found = re.search(r"write_bytes: (\d+)", io.read())
        total += int(found[1]) if found else 0
    return total / 1e6


def busy() -> float:
    """CPU seconds that the whole machine has spent working so far (steal included)."""
    with open("/proc/stat") as stat:
        ticks = [int(x) for x in stat.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS_PER_SECOND


class Pace(threading.Thread):
    """Times the same 0.1 ms loop (in CPU time) on the gateways' CPU every 20 ms: how fast is it just now?

    Its best half second ever is kept in a file, so that figures of several runs compare.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.took: list[float] = []
        self.file = LAB / "pace"
        self.best = 1.0

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.best = float(self.file.read_text())
        os.sched_setaffinity(0, {GATEWAY_CPU})  # this thread only
        while True:
            start, x = time.thread_time(), 0
            for i in range(1500):
                x += i * i
            self.took.append(time.thread_time() - start)
            if len(self.took) % 25 == 0 and (now := statistics.median(self.took[-25:])) < self.best:
                self.best = now
                self.file.write_text(str(now))
            time.sleep(0.02)

    def since(self, index: int) -> float:
        """How many times slower than at its best the loop was on average from sample `index` on."""
        return statistics.fmean(self.took[index:] or self.took[-1:]) / self.best


PACE = Pace()


def wait_for_quiet(limit: float) -> None:
    """Returns once the CPU runs at full pace and strangers use little, or after `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        before, index = busy(), len(PACE.took)
        time.sleep(0.1)
        if time.monotonic() > end or (busy() - before < 0.03 and PACE.since(index) < 1.15):
            return
