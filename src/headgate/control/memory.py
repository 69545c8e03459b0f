"""Data too large for a message, in memory whose descriptor goes along.

Readers share the descriptor's position, so it is not used: everything is read from its beginning by offset.
"""

import json
import os
from typing import Any

STEP_BYTES = 1 << 20


def written(name: str, value: Any) -> int:
    """The descriptor of memory that holds a value as JSON; the caller closes it."""
    descriptor = os.memfd_create(f"headgate-{name}")
    try:
        data = memoryview(json.dumps(value).encode())
        while data:
            data = data[os.write(descriptor, data) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read(descriptor: int) -> Any:
    """The value in such memory; closes the descriptor. Raises `ValueError` for what is not JSON."""
    try:
        size = os.fstat(descriptor).st_size
        data = bytearray()
        while len(data) < size and (step := os.pread(descriptor, STEP_BYTES, len(data))):
            data += step
    finally:
        os.close(descriptor)
    return json.loads(data)
