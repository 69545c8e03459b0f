"""What the hooks of an isolated plugin see: views made of plain data, whose changes are written down."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any

from headgate import QueryParams
from headgate._cookies import SetsCookies, read
from headgate.message import ResponseHeaders

Changes = list[list[Any]]


class Fields(ResponseHeaders):
    """Header fields that write down what is changed of them; names are listed in lower case."""

    __slots__ = ("_changes", "_of")

    def __init__(self, fields: list[tuple[str, str]], of: str, changes: Changes) -> None:
        super().__init__()
        self._fields = [(name, value) for name, value in fields]
        self._of, self._changes = of, changes

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(name, value)
        self._changes.append([self._of, "set", name, value])

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        self._changes.append([self._of, "remove", name, ""])

    def add(self, name: str, value: str) -> None:
        """Adds a field and keeps those of the same name."""
        super().add(name, value)
        self._changes.append([self._of, "add", name, value])

    def pop(self, name: str, *default: Any) -> Any:
        """Removes a field and returns its first value."""
        value = self.get(name)
        if value is None:
            if default:
                return default[0]
            raise KeyError(name)
        del self[name]
        return value


class IsolatedRequest:
    """A request as an isolated plugin sees it."""

    def __init__(self, told: dict[str, Any], state: dict[str, Any], changes: Changes) -> None:
        self._told, self._changes = told, changes
        self.headers = Fields(told["headers"], "request", changes)
        self.client = SimpleNamespace(**told["client"])
        self.params: dict[str, str] = told["params"]
        self.state = SimpleNamespace(consumer=told["consumer"], **state)

    def __getattr__(self, name: str) -> Any:
        told = self.__dict__.get("_told", {})
        if name in _TOLD:
            return told[name]
        raise AttributeError(f"an isolated plugin's request has no `{name}`")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in SETTABLE:
            object.__setattr__(self, name, value)
            return
        if not isinstance(value, str):
            raise TypeError(f"`{name}` must be a text")
        self._told[name] = value
        self._changes.append(["view", name, value, ""])

    @property
    def path(self) -> str:
        """The target before the `?`."""
        return str(self._told["target"]).partition("?")[0]

    @property
    def query(self) -> str:
        """The target after the `?`."""
        return str(self._told["target"]).partition("?")[2]

    @property
    def query_params(self) -> QueryParams:
        """The decoded query parameters."""
        return QueryParams(self.query)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies, if the plugin sees them."""
        return read(self.headers.get_all("cookie"))

    async def body(self) -> bytes:
        """The whole body, decoded, if `max_body_bytes` is set."""
        if self._told["body"] is None:
            raise PermissionError("the plugin gets no bodies; hint: set `max_body_bytes` of its use")
        return base64.b64decode(self._told["body"])

    async def text(self) -> str:
        """The whole body as text."""
        return (await self.body()).decode()

    async def json(self) -> Any:
        """The whole body as JSON."""
        return json.loads(await self.body())


SETTABLE = ("method", "target", "host", "upstream")
_TOLD = ("method", "target", "host", "upstream", "scheme", "version", "id", "route_name", "has_body")


class IsolatedResponse(SetsCookies):
    """The head of a response as an isolated plugin sees it."""

    def __init__(self, told: dict[str, Any], changes: Changes) -> None:
        self._status: int = told["status"]
        self._changes = changes
        self.headers = Fields(told["headers"], "response", changes)

    @property
    def status(self) -> int:
        """The status."""
        return self._status

    @status.setter
    def status(self, status: int) -> None:
        self._status = status
        self._changes.append(["view", "status", status, ""])


MOST_LINES = 20
LINES: list[list[str]] = []


class _Log:
    """Takes lines for the error log; they go to the worker with the result."""

    def __getattr__(self, level: str) -> Any:
        if level not in ("debug", "info", "warning", "error"):
            raise AttributeError(level)
        return lambda text, *rest, **options: (
            LINES.append([level, str(text)[:500]]) if len(LINES) < MOST_LINES else None
        )


class IsolatedContext(SimpleNamespace):
    """What an isolated plugin gets of the gateway: its name and a log."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, log=_Log())

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"an isolated plugin has no `context.{name}`, only `name` and `log`")
