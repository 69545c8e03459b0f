"""How many CPUs there are to share out."""

import os


def usable_cpus() -> int:
    """The number of CPUs this process may use: the default number of workers."""
    return len(os.sched_getaffinity(0))
