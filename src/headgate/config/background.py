"""Bounds on the work beside requests: tasks, threads and job processes."""

from typing import Annotated, TypedDict

from pydantic import Field

from .settings import Settings
from .units import MAX_COUNT, Duration, Size


class BackgroundConfig(Settings):
    """Limits of tasks, threads and job processes."""

    max_tasks: int = Field(
        default=1024, ge=1, le=MAX_COUNT, description="Concurrent tasks of `gate.spawn` per worker."
    )
    threads: int = Field(
        default=16, ge=1, le=1024, description="Threads per worker for `gate.run_in_thread`."
    )
    max_waiting_threads: int = Field(
        default=256,
        ge=0,
        le=MAX_COUNT,
        description="Calls per worker that wait for a thread; more raise `Overloaded`.",
    )
    processes: Annotated[int, Field(ge=1, le=256)] | None = Field(
        default=None,
        description="Concurrent jobs of `gate.run_in_process`, over all workers; null: one per core.",
    )
    max_waiting_jobs: int = Field(
        default=64,
        ge=0,
        le=MAX_COUNT,
        description="Jobs per worker that wait for a process; more raise `Overloaded`.",
    )
    job_timeout: Duration = Field(
        default=60.0, description="The default time limit of a job, including waiting; then it is killed."
    )
    max_job_bytes: Size = Field(
        default=64 << 20, description="Bytes of a job's arguments, and of its result."
    )
    job_nice: int = Field(default=10, ge=0, le=19, description="The nice value of job processes (nice(2)).")


class BackgroundOptions(TypedDict, total=False):
    """The keywords of `Gateway.background_limits`."""

    max_tasks: int
    threads: int
    max_waiting_threads: int
    processes: int | None
    max_waiting_jobs: int
    job_timeout: float | str
    max_job_bytes: int | str
    job_nice: int
