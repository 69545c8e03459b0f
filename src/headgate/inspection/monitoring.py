"""Taps by `sys.monitoring` (PEP 669), from Python 3.12 on.

How it works: events are switched on for one code object alone, so that only the function in question pays. A line that
nobody asked about switches itself off after its first event.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from .places import CodePlace

Look = Callable[[FrameType], None]
TOOL_NAME = "headgate inspect"

_monitoring: Any = getattr(sys, "monitoring", None)
_taps: dict[CodeType, list[tuple[int | None, Look]]] = {}
_tool: int | None = None


def tap(place: CodePlace, look: Look) -> Callable[[], None]:
    """Calls `look` with the frame whenever it gets to the place; what this gives ends that."""
    tool = _begin()
    entry = (place.line, look)
    _taps.setdefault(place.code, []).append(entry)
    _set_events(tool, place.code)

    def end() -> None:
        entries = _taps.get(place.code, [])
        if entry in entries:
            entries.remove(entry)
            _set_events(tool, place.code)
            if not entries:
                del _taps[place.code]
            if not _taps:
                _finish(tool)

    return end


def _begin() -> int:
    global _tool
    if _tool is None:
        # 0 to 2 and 5 are for debuggers, coverage, profilers and optimisers by convention
        free = [number for number in (3, 4, 0) if _monitoring.get_tool(number) is None]
        if not free:
            raise RuntimeError("all tool ids of sys.monitoring are in use")
        _monitoring.use_tool_id(free[0], TOOL_NAME)
        _monitoring.register_callback(free[0], _monitoring.events.LINE, _on_line)
        _monitoring.register_callback(free[0], _monitoring.events.PY_START, _on_start)
        _tool = free[0]
    return _tool


def _finish(tool: int) -> None:
    global _tool
    for event in (_monitoring.events.LINE, _monitoring.events.PY_START):
        _monitoring.register_callback(tool, event, None)
    _monitoring.free_tool_id(tool)
    _tool = None


def _set_events(tool: int, code: CodeType) -> None:
    wanted = 0
    for line, _ in _taps.get(code, ()):
        wanted |= _monitoring.events.PY_START if line is None else _monitoring.events.LINE
    _monitoring.set_local_events(tool, code, wanted)
    if wanted:
        _monitoring.restart_events()  # lines that have switched themselves off may be asked for now


def _on_line(code: CodeType, line: int) -> object:
    asked = False
    for wanted, look in tuple(_taps.get(code, ())):
        if wanted == line:
            asked = True
            look(sys._getframe(1))
    return None if asked else _monitoring.DISABLE


def _on_start(code: CodeType, _: int) -> object:
    for wanted, look in tuple(_taps.get(code, ())):
        if wanted is None:
            look(sys._getframe(1))
    return None
