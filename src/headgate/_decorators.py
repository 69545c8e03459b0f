"""The decorators that hang hooks on a gateway and on a route: `@gate.request`, `@route.response(deadline="1s")`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ._caller import caller
from .config.errors import ConfigError
from .config.hooks import HookConfig, OnError
from .phases import PHASES, Hook, Phase, check_hook, shown_name

if TYPE_CHECKING:
    from headgate._core import Attempt, Connection, Failure, Request, ResponseView

    from .message import Response

    Answer = Response | None
    RequestHook = Callable[[Request], Answer | Awaitable[Answer]]
    UpstreamRequestHook = Callable[[Request, Attempt], Answer | Awaitable[Answer]]
    ResponseHook = Callable[[Request, ResponseView], Answer | Awaitable[Answer]]
    ErrorHook = Callable[[Request, Failure], Answer | Awaitable[Answer]]
    LogHook = Callable[[Request, ResponseView], Awaitable[None] | None]
    ConnectHook = Callable[[Connection], Awaitable[None] | None]
    ChunkHook = Callable[[Connection, bytes], bytes | Awaitable[bytes | None] | None]
    WorkerHook = Callable[[], Awaitable[Any] | Any]

H = TypeVar("H")


@dataclass(frozen=True)
class RegisteredHook:
    """A checked hook with what its user said about it; `None` means as the route or the gateway says."""

    phase: str
    function: Hook
    deadline: float | None = None
    on_error: OnError | None = None
    name: str = ""
    reference: str = ""
    plugin: str | None = None

    def described(self) -> HookConfig:
        """The hook as the model shows it."""
        return HookConfig(function=self.reference, deadline=self.deadline, on_error=self.on_error)


def registered(
    phase: Phase,
    function: Hook,
    *,
    deadline: float | str | None = None,
    on_error: str | None = None,
    reference: str | None = None,
) -> RegisteredHook:
    """Checks a hook and what was said about it."""
    check_hook(phase, function)
    said = {"function": reference or _reference(function), "deadline": deadline, "on_error": on_error}
    checked = HookConfig.parse(said, path=(phase.name,), locate=lambda _: caller())
    return RegisteredHook(
        phase.name, function, checked.deadline, checked.on_error, shown_name(function), checked.function
    )


class PhaseDecorator(Generic[H]):
    """Hangs a hook on one phase: bare, or called with `deadline` and `on_error`."""

    def __init__(self, phase: str, hooks: list[RegisteredHook]) -> None:
        self._phase = PHASES[phase]
        self._hooks = hooks

    @overload
    def __call__(self, function: H, /) -> H: ...

    @overload
    def __call__(
        self, *, deadline: float | str | None = None, on_error: OnError | None = None
    ) -> Callable[[H], H]: ...

    def __call__(
        self, function: Any = None, *, deadline: float | str | None = None, on_error: OnError | None = None
    ) -> Any:
        """Registers `function` and gives it back."""

        def register(given: Any) -> Any:
            try:
                self._hooks.append(registered(self._phase, given, deadline=deadline, on_error=on_error))
            except ConfigError as error:
                raise error.at(caller()) from None
            return given

        return register if function is None else register(function)


class RoutePhases:
    """The phases that gateways and single routes share, as decorators."""

    hooks: list[RegisteredHook]

    @property
    def request(self) -> PhaseDecorator[RequestHook]:
        """After the route is chosen: let in, answer, choose the upstream, change headers."""
        return PhaseDecorator("request", self.hooks)

    @property
    def upstream_request(self) -> PhaseDecorator[UpstreamRequestHook]:
        """Each attempt, before bytes go out: sign, add headers."""
        return PhaseDecorator("upstream_request", self.hooks)

    @property
    def response(self) -> PhaseDecorator[ResponseHook]:
        """The response head is there: change status and headers, or replace the response."""
        return PhaseDecorator("response", self.hooks)

    @property
    def error(self) -> PhaseDecorator[ErrorHook]:
        """Something failed before a response began: give the answer."""
        return PhaseDecorator("error", self.hooks)

    @property
    def log(self) -> PhaseDecorator[LogHook]:
        """After the last byte: record; never delays the client."""
        return PhaseDecorator("log", self.hooks)


class GatewayPhases(RoutePhases):
    """All phases, as decorators."""

    @property
    def startup(self) -> PhaseDecorator[WorkerHook]:
        """Once when a worker starts, before it accepts: open pools, start tasks."""
        return PhaseDecorator("startup", self.hooks)

    @property
    def shutdown(self) -> PhaseDecorator[WorkerHook]:
        """Once when a worker stops, after its last request: close pools, end tasks."""
        return PhaseDecorator("shutdown", self.hooks)

    @property
    def connect(self) -> PhaseDecorator[ConnectHook]:
        """A connection is accepted, before its first byte of HTTP: refuse it, set its limits."""
        return PhaseDecorator("connect", self.hooks)

    @property
    def client_hello(self) -> PhaseDecorator[ConnectHook]:
        """The first TLS message is there, on listeners with `tls_passthrough`: choose the server, refuse."""
        return PhaseDecorator("client_hello", self.hooks)

    @property
    def rewrite(self) -> PhaseDecorator[RequestHook]:
        """The head is read, before routing: change method, target and headers."""
        return PhaseDecorator("rewrite", self.hooks)


class ListenerPhases:
    """The phases of one listener, as decorators."""

    hooks: list[RegisteredHook]

    @property
    def connect(self) -> PhaseDecorator[ConnectHook]:
        """A connection is accepted here, before its first byte of HTTP: refuse it, set its limits."""
        return PhaseDecorator("connect", self.hooks)

    @property
    def client_hello(self) -> PhaseDecorator[ConnectHook]:
        """The first TLS message is there (`tls_passthrough`): choose the server, refuse."""
        return PhaseDecorator("client_hello", self.hooks)


class StreamPhases(ListenerPhases):
    """The phases of a listener for bytes or datagrams, as decorators."""

    @property
    def client_data(self) -> PhaseDecorator[ChunkHook]:
        """A chunk or datagram came from the client: let it pass, replace it, or `connection.refuse()`."""
        return PhaseDecorator("client_data", self.hooks)

    @property
    def server_data(self) -> PhaseDecorator[ChunkHook]:
        """A chunk or datagram came from the server: let it pass, replace it, or `connection.refuse()`."""
        return PhaseDecorator("server_data", self.hooks)


def _reference(function: Hook) -> str:
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}:{getattr(function, '__qualname__', type(function).__qualname__)}"
