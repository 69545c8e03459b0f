"""The worker's side of the process that judges requests: started, asked one by one, and replaced when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any, NamedTuple

from headgate import ConfigError

from ._modsecurity import LIBRARY, Facts
from ._waf_engine import LENGTH, received, send

LOADING_S = 60.0
"""The longest that reading rules may take."""
PROGRAM = Path(__file__).with_name("_waf_engine.py")


class Judgement(NamedTuple):
    """What came of a request."""

    verdict: tuple[int, str | None, list[str]] | None = None
    """Status, place of a redirect, and ids of rules; none if the request may go on."""
    is_late: bool = False
    """Whether it took too long."""
    has_failed: bool = False
    """Whether there is no verdict for another reason."""


class Judges:
    """One process for a worker; raises `ConfigError` for rules that are not valid."""

    def __init__(self, rules: list[tuple[str, str]], seconds: float) -> None:
        self._orders = {"rules": rules, "seconds": seconds}
        self._patience = 2 * seconds + 5
        self._number = 0
        self._turn = asyncio.Semaphore(1)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._is_closed = False
        self._start()

    async def judge(self, facts: Facts) -> Judgement:
        """Asks about a request, once those before it have been judged."""
        async with self._turn:
            if self._socket is None and not await self._restarted():
                return Judgement(has_failed=True)
            self._number += 1
            try:
                async with asyncio.timeout(self._patience):
                    return await self._asked(self._number, facts)
            except (OSError, EOFError, ValueError, TimeoutError):
                await self._end()
                return Judgement(has_failed=True)

    async def close(self) -> None:
        """Ends the process."""
        self._is_closed = True
        await self._end()

    async def _asked(self, number: int, facts: Facts) -> Judgement:
        if self._streams is None:
            self._streams = await asyncio.open_connection(sock=self._socket)
        reader, writer = self._streams
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in facts.fields]
        head = json.dumps({"number": number, "facts": facts[:5], "fields": fields}).encode()
        writer.write(LENGTH.pack(len(head), len(facts.body)) + head + facts.body)
        await writer.drain()
        while True:
            size, _ = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            said = json.loads(await reader.readexactly(size))
            if said["number"] == number:  # else of one whose client has left
                return Judgement(said.get("verdict"), said.get("late", False), said.get("crashed", False))

    def _start(self) -> None:
        """Starts the process, and waits until it has read the rules."""
        ours, theirs = socket.socketpair()
        ours.settimeout(LOADING_S)
        # without the user's environment, and without the packages that the gateway has
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(PROGRAM)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={},
            )
        try:
            send(ours, self._orders)
            said: Any = received(ours)[0]
        except (OSError, EOFError) as error:
            ours.close()
            self._process.kill()
            self._process.wait()
            raise ConfigError(
                f"the engine does not start: {str(error) or 'it has ended'}", hint=None
            ) from None
        if "ready" not in said:
            ours.close()
            self._process.wait()
            raise _refusal(said)
        ours.settimeout(None)
        self._socket: socket.socket | None = ours
        # a file that is only checked is never closed
        self._forgotten = weakref.finalize(self, _ended, ours, self._process)

    async def _restarted(self) -> bool:
        if self._is_closed:
            return False
        try:
            await asyncio.to_thread(self._start)
        except ConfigError:
            return False
        return True

    async def _end(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
        if self._socket is not None:
            self._socket = None
            await asyncio.to_thread(self._forgotten)


def _ended(ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """Closes the socket, which ends the process."""
    with contextlib.suppress(OSError):
        ours.close()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _refusal(said: dict[str, str]) -> ConfigError:
    if "missing" in said:
        return ConfigError(
            f"`{LIBRARY}` is not installed", hint="apt-get install libmodsecurity3 modsecurity-crs"
        )
    return ConfigError(
        said.get("invalid", "the engine does not start"),
        hint="directives are those of ModSecurity 3; `IncludeOptional` is not one of them",
    )
