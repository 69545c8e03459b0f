"""Routes and upstreams as a Python file handles them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from ._caller import Place, Placed, caller
from ._decorators import RegisteredHook, registered
from ._hook_checks import MATCH
from ._phase_decorators import RoutePhases
from .config.errors import ConfigError
from .config.hooks import RouteHooksConfig
from .config.routes import RouteConfig
from .config.upstreams import UpstreamConfig
from .phases import PHASES

if TYPE_CHECKING:
    from headgate._core import FetchResponse, Request

    from .message import HeaderFields

Matcher = Callable[["Request"], bool]
"""Says whether a route takes a request."""


class FetchOptions(TypedDict, total=False):
    """What can be said of a request that is made; see `headgate.fetch`."""

    method: str | None
    headers: HeaderFields | None
    body: bytes | str | AsyncIterable[bytes] | None
    json: Any
    timeout: float | None
    redirects: int


class Upstream(Placed):
    """A named group of servers, which routes send requests to."""

    def __init__(self, name: str, config: UpstreamConfig, place: Place) -> None:
        self.name = name
        self.config = config
        self.place = place

    def fetch(self, target: str, /, **options: Unpack[FetchOptions]) -> Awaitable[FetchResponse]:
        """Asks one of the servers, chosen by the upstream's balancing; `target` is a path, maybe with a query.

        Connections, retries, failure counts and `timeouts.connect` are the upstream's; the rest is as in
        `headgate.fetch`. Redirects that leave the upstream are not followed.
        """
        return _engine_fetch()(self.name, target, **options)

    def __repr__(self) -> str:
        return f"<Upstream {self.name}: {', '.join(server.address for server in self.config.servers)}>"


@cache
def _engine_fetch() -> Callable[..., Awaitable[FetchResponse]]:
    """Loads the engine when it is needed, and not for a check."""
    from headgate._core import fetch_upstream

    return fetch_upstream


class Route(RoutePhases, Placed):
    """A route. As a decorator it registers a request hook; other phases are decorators such as `@route.response`.

    Where the route has nothing else to do (no `to`, `redirect`, `respond` or `files`), the function it decorates
    makes the response: it runs after the route's other request hooks, wherever those stand in the file.
    """

    def __init__(self, config: RouteConfig, when: Matcher | None, place: Place) -> None:
        self.config = config
        self._hooks: list[RegisteredHook] = []
        self._handlers: list[RegisteredHook] = []
        self._is_mount = False
        self.place = place
        self.when = None if when is None else registered(MATCH, when, reference=config.when)

    def __call__(self, function: Callable[..., Any]) -> Route:
        """Takes `function` as a request hook and gives the route back."""
        try:
            hook = registered(PHASES["request"], function)
        except ConfigError as error:
            raise error.at(caller()) from None
        self._hooks.append(hook)
        self._handlers.append(hook)
        return self

    @property
    def function(self) -> Callable[..., Any]:
        """The function that the route decorates, unchanged, for use in tests or other code.

        Raises `LookupError` for a route that decorates none.
        """
        if not self._handlers:
            raise LookupError(f"route `{self.name}` decorates no function")
        return self._handlers[-1].function

    def _in_order(self) -> list[RegisteredHook]:
        """Its hooks in the order listed, but the hook that responds last: an access check below it must run first."""
        if not self._hooks or self.config.has_action:
            return self._hooks
        last = {id(hook) for hook in self._handlers}
        return sorted(self._hooks, key=lambda hook: id(hook) in last)

    @property
    def name(self) -> str:
        """Its name in logs."""
        return self.config.shown_name

    def _described(self) -> RouteConfig:
        """The route as the model shows it, with its hooks by their references."""
        if not (self._hooks or self._handlers or self.when or self.config.hooks.model_fields_set):
            return self.config
        hooks = RouteHooksConfig.model_validate(
            {
                name: [hook.described() for hook in self._in_order() if hook.phase == name]
                for name in RouteHooksConfig.model_fields
            }
        )
        when = self.when.reference if self.when else None
        return self.config.model_copy(update={"hooks": hooks, "when": when})

    def __repr__(self) -> str:
        return f"<Route {self.name}>"
