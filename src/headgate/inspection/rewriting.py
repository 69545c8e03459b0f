"""Taps by putting a call into the function's code, for Python 3.11, which has no `sys.monitoring`.

How it works: `function.__code__` is replaced by a copy that calls the tap where the line begins; the library `bytecode`
moves jumps and the exception table along. Calls that run already go on in the old code. For a function made inside
another one, the copy stands among the constants of the outer one, so that functions made from now on have it. When the
tap ends, the old code is put back; a function made meanwhile that is out of reach keeps a call that does nothing.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType, FrameType, FunctionType
from typing import Any

from .places import CodePlace, _originals, inner_codes, original

Look = Callable[[FrameType], None]


@dataclass
class _Tapped:
    """The taps of one code object, and the functions through which it is reached."""

    code: CodeType
    taps: list[tuple[int | None, Look]] = field(default_factory=list)
    functions: dict[int, FunctionType] = field(default_factory=dict)


_tapped: dict[CodeType, _Tapped] = {}


def tap(place: CodePlace, look: Look) -> Callable[[], None]:
    """Calls `look` with the frame whenever a new call gets to the place; what this gives ends that."""
    tapped = _tapped.setdefault(place.code, _Tapped(place.code))
    entry = (place.line, look)
    tapped.taps.append(entry)
    tapped.functions.update({id(function): function for function in place.functions})
    _rewrite(tapped)

    def end() -> None:
        if entry in tapped.taps:
            tapped.taps.remove(entry)
            _rewrite(tapped)
            if not tapped.taps:
                _tapped.pop(place.code, None)

    return end


def _rewrite(tapped: _Tapped) -> None:
    """Gives all functions the code that fits the taps there are now."""
    functions = {id(function): function for function in tapped.functions.values()}
    held = [tapped.code, *(code for code, old in list(_originals.items()) if old is tapped.code)]
    # those that no name leads to, and those made since the last time
    for one in gc.get_referrers(*held):
        if isinstance(one, FunctionType) and any(one.__code__ is code for code in held):
            functions[id(one)] = one
    for function in functions.values():
        _set_code(function)


def _set_code(function: FunctionType) -> None:
    """The code of a function anew: as written, with all taps on it and on what it makes functions of."""
    old = original(function.__code__)
    taps = {code: _tapped[code].taps for code in inner_codes(old) if code in _tapped and _tapped[code].taps}
    new = _copy(old, taps)
    function.__code__ = _remembered(new, old)


def _copy(code: CodeType, taps: dict[CodeType, list[tuple[int | None, Look]]]) -> CodeType:
    """`code`, or a copy with its taps and its inner code's."""
    constants = tuple(
        _remembered(_copy(constant, taps), constant) if isinstance(constant, CodeType) else constant
        for constant in code.co_consts
    )
    if any(new is not old for new, old in zip(constants, code.co_consts, strict=True)):
        with_inner = code.replace(co_consts=constants)
    else:
        with_inner = code
    return _tapped_copy(with_inner, taps[code]) if code in taps else with_inner


def _remembered(new: CodeType, old: CodeType) -> CodeType:
    if new is not old:
        _originals[new] = old
    return new


def _tapped_copy(code: CodeType, taps: list[tuple[int | None, Look]]) -> CodeType:
    from bytecode import Bytecode, Instr

    written: list[Any] = []
    was_line: int | None = None
    has_begun = False
    source = Bytecode.from_code(code)
    for item in source:
        if not isinstance(item, Instr):
            written.append(item)
            continue
        line = item.lineno if isinstance(item.lineno, int) else None
        if has_begun and line != was_line:
            for wanted, look in taps:
                if wanted is not None and wanted == line:
                    written += _call(look, line)
        written.append(item)
        was_line = line
        if item.name == "RESUME" and not has_begun:
            # the arguments are in place, and a coroutine is past its creation
            has_begun = True
            for wanted, look in taps:
                if wanted is None:
                    written += _call(look, line)
    source[:] = written
    return source.to_code()


def _call(look: Look, line: int | None) -> list[Any]:
    from bytecode import Instr

    def tell() -> None:
        look(sys._getframe(1))

    return [
        Instr("PUSH_NULL", lineno=line),
        Instr("LOAD_CONST", tell, lineno=line),
        Instr("PRECALL", 0, lineno=line),
        Instr("CALL", 0, lineno=line),
        Instr("POP_TOP", lineno=line),
    ]
