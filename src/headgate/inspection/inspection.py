"""One inspection: what happens each time a tapped place is reached.

Rule: whatever the condition, the shown expressions or the handler do, the request goes on as if nothing were there.
What they raise is reported to the inspecting command only.
"""

from __future__ import annotations

import contextvars
import functools
import importlib
import reprlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from .places import CodePlace, NotFound, find

MOST_VALUES = 50
MOST_TEXT = 1000
"""Characters of one value."""
MOST_FRAMES = 60
"""How far up the request is looked for."""

CURRENT: contextvars.ContextVar[Any] = contextvars.ContextVar("headgate_current_request", default=None)
"""The request whose hooks run in this context; set by the engine while something is inspected."""

Tell = Callable[[dict[str, Any]], None]


class CannotInspect(ValueError):
    """The order cannot be carried out; the text says why."""


@dataclass(frozen=True)
class Order:
    """What to look at, when, and what to show."""

    at: str
    """`file.py:LINE` or `module:function`."""
    condition: str | None = None
    """A Python expression over the locals, the globals and `request`."""
    show: tuple[str, ...] = ()
    """Expressions to show; none: all locals."""
    handler: str | None = None
    """`module:function`, called with a `Hit`; what it returns is shown."""
    count: int = 0
    """Ends after so many hits; 0: does not."""


@dataclass(frozen=True)
class Hit:
    """The argument of a handler: one hit of the breakpoint."""

    locals: Mapping[str, Any]
    """The local variables, a copy."""
    globals: Mapping[str, Any]
    """The module's names."""
    request: Any
    """The current `headgate.Request`; None if there is none."""
    file: str
    line: int
    function: str


class Inspection:
    """One order in force in this process, from `begin` to `end`."""

    def __init__(self, order: Order, tell: Tell, done: Callable[[], None]) -> None:
        self._order, self._tell, self._done = order, tell, done
        self._condition = _compiled(order.condition) if order.condition else None
        self._show = [(text, _compiled(text)) for text in order.show]
        self._handler = _handler(order.handler) if order.handler else None
        self._left = order.count or -1
        self._looking: set[int] = set()
        """Threads that evaluate now: what they call may come by here again."""
        self._untap: Callable[[], None] | None = None
        self._has_told_of_condition = False

    def begin(self, roots: Iterable[object] = ()) -> CodePlace:
        """Finds and taps the place; raises CannotInspect."""
        try:
            place = find(self._order.at, roots)
        except NotFound as error:
            raise CannotInspect(str(error)) from None
        if sys.version_info >= (3, 12):
            from .monitoring import tap
        else:
            from .rewriting import tap
        try:
            self._untap = tap(place, self._look)
        except Exception as error:
            raise CannotInspect(f"cannot inspect {place}: {type(error).__name__}: {error}") from error
        return place

    def end(self) -> None:
        """Takes the tap off; no matter how often."""
        self._left = 0
        untap, self._untap = self._untap, None
        if untap:
            untap()

    def _look(self, frame: FrameType) -> None:
        thread = threading.get_ident()
        if self._left == 0 or thread in self._looking:
            return
        self._looking.add(thread)
        try:
            self._look_once(frame)
        except BaseException as error:
            # A request must not notice, whatever this was.
            try:
                self._tell({"error": _shown_error(error)})
            except BaseException:
                pass
        finally:
            self._looking.discard(thread)

    def _look_once(self, frame: FrameType) -> None:
        names = _Names(frame)
        if self._condition is not None:
            try:
                if not _evaluate(self._condition, names):
                    return
            except BaseException as error:
                if not self._has_told_of_condition:
                    self._has_told_of_condition = True
                    self._tell({"error": f"the condition raised {_shown_error(error)}"})
                return
        if self._left == 0:
            return
        self._left -= self._left > 0
        self._tell(self._hit(frame, names))
        if self._left == 0:
            self._done()

    def _hit(self, frame: FrameType, names: _Names) -> dict[str, Any]:
        code = frame.f_code
        told: dict[str, Any] = {
            "time_unix": round(time.time(), 6),
            "file": code.co_filename,
            "line": frame.f_lineno,
            "function": code.co_qualname,
            "request": _told_of(names.request),
            "values": {},
        }
        if self._show:
            for text, expression in self._show[:MOST_VALUES]:
                told["values"][text] = _guarded(functools.partial(_evaluate, expression, names))
        else:
            values = list(names.locals.items())
            told["values"] = {name: _shown(value) for name, value in values[:MOST_VALUES]}
        if self._handler is not None:
            hit = Hit(
                dict(names.locals),
                frame.f_globals,
                names.request,
                code.co_filename,
                frame.f_lineno,
                code.co_qualname,
            )
            handler = self._handler
            told["handler"] = _guarded(lambda: handler(hit))
        return told


class _Names(dict[str, Any]):
    """What an expression may name: the locals, then `request`."""

    def __init__(self, frame: FrameType) -> None:
        self.locals = frame.f_locals
        super().__init__(self.locals)
        self.globals = frame.f_globals
        self._frame = frame

    @property
    def request(self) -> Any:
        """The request, looked for when first asked for."""
        if "request" not in self:
            self["request"] = _request_of(self._frame)
        return self["request"]

    def __missing__(self, name: str) -> Any:
        if name == "request" and name not in self.globals:
            return self.request
        raise KeyError(name)


def _request_of(frame: FrameType | None) -> Any:
    """The context's request; else, for one that came before the inspection, that of a hook further up."""
    if (request := CURRENT.get()) is not None:
        return request
    for _ in range(MOST_FRAMES):
        if frame is None:
            return None
        for value in frame.f_locals.values():
            if type(value).__name__ == "Request" and type(value).__module__ == "headgate._core":
                return value
        frame = frame.f_back
    return None


def _evaluate(expression: CodeType, names: _Names) -> Any:
    if any(isinstance(constant, CodeType) for constant in expression.co_consts):
        # lambdas and comprehensions see globals only: give them everything as such
        return eval(expression, {**names.globals, "request": names.request, **names})
    return eval(expression, names.globals, names)


def _compiled(text: str) -> CodeType:
    try:
        return compile(text, "<inspect>", "eval")
    except SyntaxError as error:
        raise CannotInspect(f"`{text}` is not a valid expression: {error.msg}") from None


def _handler(reference: str) -> Callable[[Hit], Any]:
    module, _, name = reference.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise CannotInspect(f"there is no handler `{reference}`: {error}") from None
    if not callable(found):
        raise CannotInspect(f"the handler `{reference}` cannot be called")
    handler: Callable[[Hit], Any] = found
    return handler


class _Shown(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 300
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = 20
        self.maxlevel = 4


def _shown(value: object) -> str:
    return _guarded(lambda: value)


def _guarded(give: Callable[[], Any]) -> str:
    try:
        text = _Shown().repr(give())
        text = text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}..."
        return text.encode("utf-8", "backslashreplace").decode()
    except BaseException as error:
        return f"<{_shown_error(error)}>"


def _shown_error(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {str(error)[:300]}"
    except BaseException:
        return type(error).__name__


def _told_of(request: Any) -> dict[str, str] | None:
    if request is None:
        return None
    try:
        return {"id": str(request.id), "method": str(request.method), "target": str(request.target)}
    except Exception as error:  # finished, or of another thread
        return {"id": f"<{_shown_error(error)}>", "method": "", "target": ""}
