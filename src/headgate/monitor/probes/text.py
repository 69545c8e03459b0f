"""Checks over TCP or TLS: a connection is enough, or something is sent, and something is to come."""

from __future__ import annotations

from headgate.monitor.probes.connecting import CheckFailed, connection
from headgate.monitor.target import Target

MOST_BYTES = 1 << 16


async def check_text(target: Target) -> None:
    """Raises what is wrong."""
    check = target.check
    async with connection(target) as (reader, writer):
        if check["send"]:
            writer.write(check["send"].encode())
        if not (expected := (check["expect"] or "").encode()):
            return
        seen = b""
        while expected not in seen:
            if len(seen) > MOST_BYTES:
                raise CheckFailed(f"its first {MOST_BYTES} bytes do not contain what is expected")
            if not (step := await reader.read(4096)):
                raise CheckFailed("closed without sending what is expected")
            seen += step
