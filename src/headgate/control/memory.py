"""Data too large for a message, in memory whose descriptor goes along.

Readers share the descriptor's position, so it is not used: everything is read from its beginning by offset.
"""

import json
import os
from typing import Any

STEP_BYTES = 1 << 20


def written(name: str, value: Any) -> int:
    """The descriptor of memory that holds a value as JSON, in one line; the caller closes it."""
    return holding(name, json.dumps(value).encode() + b"\n")


def holding(name: str, data: bytes) -> int:
    """The descriptor of memory that holds some bytes; the caller closes it."""
    descriptor = os.memfd_create(f"headgate-{name}")
    try:
        append(descriptor, data)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def append(descriptor: int, data: bytes) -> None:
    """Writes at the position of the one who writes."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def read(descriptor: int) -> Any:
    """The value in such memory; closes the descriptor. Raises `ValueError` for what is not JSON."""
    return json.loads(read_bytes(descriptor))


def read_line(descriptor: int) -> tuple[Any, int]:
    """The value in the first line of such memory, and where the second one begins; leaves the descriptor open."""
    data = bytearray()
    while (end := data.find(b"\n")) < 0 and (step := os.pread(descriptor, STEP_BYTES, len(data))):
        data += step
    if end < 0:
        raise ValueError("memory without a line")
    return json.loads(data[:end]), end + 1


def read_bytes(descriptor: int, size: int | None = None) -> bytearray:
    """The first bytes in such memory, or all; closes the descriptor."""
    try:
        size = os.fstat(descriptor).st_size if size is None else size
        data = bytearray()
        while len(data) < size and (
            step := os.pread(descriptor, min(STEP_BYTES, size - len(data)), len(data))
        ):
            data += step
    finally:
        os.close(descriptor)
    return data
