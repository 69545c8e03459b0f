"""Inspections as a worker sees them: begins and ends them as the supervisor says, and reports what is hit."""

import asyncio
import contextvars
from collections.abc import Iterable
from typing import Any, Protocol

from headgate.control import inspection_messages
from headgate.control.channel import Channel, ChannelClosed
from headgate.control.records import Message
from headgate.inspection import CannotInspect, Inspection, Order
from headgate.inspection.inspection import CURRENT


class Core(Protocol):
    """The engine as far as inspections need it."""

    def name_requests(self, variable: contextvars.ContextVar[Any] | None, /) -> None:
        """Has each request set the variable to itself."""


class Inspector:
    """All inspections of one worker."""

    def __init__(
        self, core: Core, loop: asyncio.AbstractEventLoop, channel: Channel, roots: Iterable[object]
    ) -> None:
        self._core, self._loop, self._channel = core, loop, channel
        self.roots = list(roots)
        """Where functions are looked for."""
        self._running: dict[int, Inspection] = {}
        self._lost = 0

    def begin(self, message: inspection_messages.Inspect) -> None:
        """Begins one, and says so or why not."""
        number, order = message.id, message.order.plain()
        try:
            inspection = Inspection(
                Order(**{**order, "show": tuple(order["show"])}),
                lambda hit: self._tell(number, hit),
                # not from within the tapped code
                lambda: self._later(number),
            )
            place = inspection.begin(self.roots)
        except (CannotInspect, TypeError) as error:
            return self._send(inspection_messages.Inspecting(id=number, error=str(error)))
        if not self._running:
            self._core.name_requests(CURRENT)
        self._running[number] = inspection
        # Should the supervisor's word get lost, it ends all the same.
        self._loop.call_later(message.for_s + 1.0, self.end, number)
        return self._send(inspection_messages.Inspecting(id=number, place=str(place)))

    def end(self, number: int) -> None:
        """Ends one; no matter if it has ended."""
        if inspection := self._running.pop(number, None):
            inspection.end()
            if not self._running:
                self._core.name_requests(None)

    def end_all(self) -> None:
        """Ends all: the supervisor has exited, or this worker stops."""
        for number in list(self._running):
            self.end(number)

    def _later(self, number: int) -> None:
        try:
            self._loop.call_soon_threadsafe(self.end, number)
        except RuntimeError:
            pass  # the loop is closed: the process ends

    def _tell(self, number: int, hit: dict[str, Any]) -> None:
        self._send(
            inspection_messages.Hit(id=number, hit=inspection_messages.InspectHit(**hit, lost=self._lost))
        )

    def _send(self, message: Message) -> None:
        """What the supervisor does not take at once is lost and counted: no request waits for it."""
        try:
            self._channel.send(message)
            self._lost = 0
        except BlockingIOError:
            self._lost += 1
        except (ChannelClosed, ValueError):
            pass
