"""Takes the stacks of this process, again and again, from a thread of its own: nothing in the others is changed.

How it works: `sys._current_frames` gives the stack of every thread. The sampler needs the interpreter for that, and
waits for it as any thread does, so what it sees was running a moment before; a sample counts for the time since the one
before. A stack belongs to the hook whose function is its outermost one. The thread of the event loop counts while it is
in Python code, waiting or not, since nothing else is served meanwhile; in the engine it counts as native code for as
long as it has used the processor. Other threads count while they run a hook, or use the processor.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FrameType
from typing import Any

from .profile import Frame, Profile, Stack

MOST_FRAMES = 100
"""Of a stack; the innermost ones are left out."""
LEAST_USE = 0.1
"""The share of the processor with which a thread runs."""

Owners = Mapping[CodeType, tuple[str, str]]
"""Phase and name of a hook, by the code of its function."""


def owners(hooks: Iterable[tuple[str, str, Callable[..., Any]]]) -> Owners:
    """From phases, names and functions of hooks. A function that is several hooks is called by the first."""
    found: dict[CodeType, tuple[str, str]] = {}
    for phase, name, function in hooks:
        for code in _codes(function):
            found.setdefault(code, (phase, name))
    return found


def _codes(function: Any) -> Iterable[CodeType]:
    """The code of a function, and of those that it wraps."""
    for _ in range(16):
        if isinstance(function, functools.partial):
            function = function.func
            continue
        call = inspect.getattr_static(type(function), "__call__", None)
        code = getattr(function, "__code__", None) or getattr(call, "__code__", None)
        if isinstance(code, CodeType):
            yield code
        function = getattr(function, "__wrapped__", None)
        if function is None:
            return


class Sampler:
    """Samples from `begin` until `seconds` are over or `stop`; then calls `done` with the profile, in that thread."""

    def __init__(
        self,
        owners: Owners,
        loop_thread: int,
        waits: CodeType,
        *,
        seconds: float,
        interval_s: float,
        done: Callable[[Profile], None],
    ) -> None:
        self._owners, self._loop_thread, self._waits = owners, loop_thread, waits
        self._seconds, self._interval_s, self._done = seconds, interval_s, done
        self._profile = Profile()
        self._used: dict[int, float] = {}
        """Seconds of the processor, by thread, until the last sample."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headgate profiler", daemon=True)

    def begin(self) -> None:
        """Samples from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it a moment later."""
        self._stopped.set()

    def _run(self) -> None:
        begun = before = time.monotonic()
        while not self._stopped.wait(self._interval_s):
            now = time.monotonic()
            self.take(now - before)
            before = now
            if now - begun >= self._seconds:
                break
        self._done(self._profile)

    def take(self, elapsed_s: float) -> None:
        """One sample, for the time since the one before."""
        own = threading.get_ident()
        names = {one.ident: one.name for one in threading.enumerate()}
        self._profile.samples += 1
        used: dict[int, float] = {}
        for thread, frame in sys._current_frames().items():
            if thread == own:
                continue
            # the thread lives: it needs the interpreter to end, which is ours now
            used[thread] = time.clock_gettime(time.pthread_getcpuclockid(thread))
            spent = used[thread] - self._used.get(thread, used[thread])
            self._count(thread, names.get(thread) or "native", frame, elapsed_s, min(spent, elapsed_s))
        self._used = used

    def _count(self, thread: int, name: str, frame: FrameType, elapsed_s: float, spent_s: float) -> None:
        if thread == self._loop_thread and frame.f_code is self._waits:
            self._profile.engine_s += spent_s
            self._profile.idle_s += elapsed_s - spent_s
            return
        stack, is_hook = self._stack(frame)
        if thread == self._loop_thread:
            self._profile.add(stack if is_hook else (Frame("event loop"), *stack), elapsed_s)
        elif is_hook:
            self._profile.add(stack, elapsed_s)
        elif spent_s >= LEAST_USE * elapsed_s:
            self._profile.add((Frame(f"thread {name}"), *stack), elapsed_s)

    def _stack(self, innermost: FrameType) -> tuple[Stack, bool]:
        """From the hook on, if there is one, else from the outermost call; and whether there is one."""
        frames: list[Frame] = []
        at: FrameType | None = innermost
        owner, owned = None, 0
        while at is not None:
            code = at.f_code
            frames.append(Frame(code.co_qualname, code.co_filename, code.co_firstlineno))
            if found := self._owners.get(code):
                owner, owned = found, len(frames)
            at = at.f_back
        if owner is None:
            return tuple(frames[::-1][:MOST_FRAMES]), False
        return (Frame(owner[0]), Frame(owner[1]), *frames[:owned][::-1][:MOST_FRAMES]), True
