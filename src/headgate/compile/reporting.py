"""`mode: report`: a plugin's hooks run and decide, and nothing of it happens but a line in the log and a counter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headgate._hook_checks import Hook, is_async
from headgate.message import Response

CHANGING = frozenset(("set_body", "set_cookie", "delete_cookie", "refuse"))
"""Methods of views that change something."""


def reporting(method: Hook, phase: str) -> Hook:
    """A hook that does what `method` does on views that change nothing, and whose response is logged, not given."""
    context = getattr(getattr(method, "__self__", None), "_headgate_context", None)
    counter = context.counter("reported") if context is not None else None

    def told(result: object, request: Any) -> None:
        if isinstance(result, Response) and phase != "error" and context is not None and counter is not None:
            counter.add()
            request_id = getattr(request, "id", "")
            context.log.warning(
                "would have replied",
                extra={"status": result.status, "phase": phase, "request_id": request_id},
            )

    if is_async(method):

        async def wait(view: Any, *rest: Any) -> None:
            told(await method(Reading(view), *map(_reading, rest)), view)

        return wait

    def call(view: Any, *rest: Any) -> None:
        told(method(Reading(view), *map(_reading, rest)), view)

    return call


def _reading(argument: Any) -> Any:
    return argument if isinstance(argument, bytes | str | bool | None) else Reading(argument)


class Reading:
    """A view of a view: it tells everything and changes nothing. `state` alone can be written, as it is."""

    __slots__ = ("_view",)

    def __init__(self, view: Any) -> None:
        object.__setattr__(self, "_view", view)

    def __getattr__(self, name: str) -> Any:
        if name in CHANGING:
            return _change_nothing
        value = getattr(self._view, name)
        return ReadFields(value) if name in ("headers", "trailers") else value

    def __setattr__(self, name: str, value: object) -> None:
        """Changes nothing."""


def _change_nothing(*_: object, **__: object) -> None:
    return None


class ReadFields:
    """Header fields that take every change and keep none."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Any) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        if name in ("add", "update"):
            return _change_nothing
        return getattr(self._fields, name)

    def setdefault(self, name: str, default: str) -> str:
        """The value, or the default, which is not set."""
        return str(self._fields.get(name, default))

    def pop(self, name: str, *default: Any) -> Any:
        """The value, which stays."""
        return self._fields.get(name, *default) if default else self._fields[name]

    def __getitem__(self, name: str) -> str:
        return str(self._fields[name])

    def __setitem__(self, name: str, value: str) -> None:
        """Changes nothing."""

    def __delitem__(self, name: str) -> None:
        """Changes nothing."""

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)
