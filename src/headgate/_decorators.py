"""The decorators that hang hooks on a gateway and on a route: `@gate.request`, `@route.response(deadline="1s")`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ._caller import caller
from .config.errors import ConfigError
from .config.hooks import BodyHookConfig, BodyMode, HookConfig, OnError
from .phases import BODY_PHASES, PHASES, Hook, Phase, check_hook, shown_name

if TYPE_CHECKING:
    from headgate._core import (
        Attempt,
        Certificate,
        Connection,
        Failure,
        Request,
        ResponseView,
        ServerView,
        UpstreamView,
        WebSocketMessage,
    )

    from .message import Response

    Answer = Response | None
    RequestHook = Callable[[Request], Answer | Awaitable[Answer]]
    Piece = bytes | bytearray | memoryview | Answer
    RequestBodyHook = Callable[[Request, bytes, bool], Piece | Awaitable[Piece]]
    Picked = ServerView | str | Answer
    BalanceHook = Callable[[Request, UpstreamView], Picked | Awaitable[Picked]]
    UpstreamRequestHook = Callable[[Request, Attempt], Answer | Awaitable[Answer]]
    ResponseHook = Callable[[Request, ResponseView], Answer | Awaitable[Answer]]
    ResponseBodyHook = Callable[[Request, ResponseView, bytes, bool], Piece | Awaitable[Piece]]
    Data = str | bytes | bytearray | memoryview
    Messages = Data | list[Any] | tuple[Any, ...] | None
    MessageHook = Callable[[Request, WebSocketMessage], Messages | Awaitable[Messages]]
    ErrorHook = Callable[[Request, Failure], Answer | Awaitable[Answer]]
    LogHook = Callable[[Request, ResponseView], Awaitable[None] | None]
    ConnectHook = Callable[[Connection], Awaitable[None] | None]
    Pem = str | bytes
    Shown = Certificate | Pem | tuple[Pem, Pem] | None
    ClientHelloHook = Callable[[Connection], Shown | Awaitable[Shown]]
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
    body: BodyHookConfig | None = None
    """How a hook of a body phase takes the body."""

    def described(self) -> HookConfig:
        """The hook as the model shows it."""
        said = {"function": self.reference, "deadline": self.deadline, "on_error": self.on_error}
        if self.body is not None:
            return self.body.model_copy(update=said)
        return HookConfig.model_validate(said)


def registered(
    phase: Phase,
    function: Hook,
    *,
    deadline: float | str | None = None,
    on_error: str | None = None,
    reference: str | None = None,
    **body: Any,
) -> RegisteredHook:
    """Checks a hook and what was said about it; `body` is what hooks of body phases say besides."""
    check_hook(phase, function)
    said = {"function": reference or _reference(function), "deadline": deadline, "on_error": on_error, **body}
    if phase.name in BODY_PHASES:
        checked: HookConfig = BodyHookConfig.parse(
            {**_marked(function), **said}, path=(phase.name,), locate=lambda _: caller()
        )
    else:
        _refuse_mark(phase, function)
        checked = HookConfig.parse(said, path=(phase.name,), locate=lambda _: caller())
    return RegisteredHook(
        phase.name,
        function,
        checked.deadline,
        checked.on_error,
        shown_name(function),
        checked.function,
        body=checked if isinstance(checked, BodyHookConfig) else None,
    )


_MARK = "_headgate_body_mode"


def body_mode(mode: BodyMode, *, limit: int | str | None = None, decode: bool = False) -> Callable[[H], H]:
    """Says how a body hook takes the body: for methods of plugins, and functions that files name.

    `stream` gives it in chunks, `buffer` whole, up to `limit`; `decode` undoes its Content-Encoding.
    """
    said = {"mode": mode, "limit": limit, "decode": decode}
    BodyHookConfig.parse({"function": "a:b", **said}, path=("body_mode",), locate=lambda _: caller())

    def mark(function: H) -> H:
        setattr(function, _MARK, said)
        return function

    return mark


def marked_body(phase: str, function: Hook) -> BodyHookConfig | None:
    """How a plugin's hook takes the body, if its phase is of one."""
    if phase not in BODY_PHASES:
        return None
    return BodyHookConfig.model_validate({"function": _reference(function), **_marked(function)})


def _marked(function: Hook) -> dict[str, Any]:
    return dict(getattr(function, _MARK, {}))


def _refuse_mark(phase: Phase, function: Hook) -> None:
    if _marked(function):
        raise ConfigError(
            f"hook `{shown_name(function)}` has a body mode, but phase `{phase.name}` gives no body",
            hint="`body_mode` is for request_body and response_body",
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


class BodyPhaseDecorator(PhaseDecorator[H]):
    """Hangs a hook on a body phase: bare, or called with how it takes the body too."""

    @overload
    def __call__(self, function: H, /) -> H: ...

    @overload
    def __call__(
        self,
        *,
        mode: BodyMode = "stream",
        limit: int | str | None = None,
        decode: bool = False,
        deadline: float | str | None = None,
        on_error: OnError | None = None,
    ) -> Callable[[H], H]: ...

    def __call__(self, function: Any = None, **said: Any) -> Any:
        """Registers `function` and gives it back."""

        def register(given: Any) -> Any:
            try:
                self._hooks.append(registered(self._phase, given, **said))
            except ConfigError as error:
                raise error.at(caller()) from None
            return given

        return register if function is None else register(function)


class RoutePhases:
    """The phases that gateways and single routes share, as decorators."""

    _hooks: list[RegisteredHook]

    @property
    def request(self) -> PhaseDecorator[RequestHook]:
        """After the route is chosen: let in, answer, choose the upstream, change headers."""
        return PhaseDecorator("request", self._hooks)

    @property
    def request_body(self) -> BodyPhaseDecorator[RequestBodyHook]:
        """The request's body is on its way: keep, replace or drop a chunk, or answer."""
        return BodyPhaseDecorator("request_body", self._hooks)

    @property
    def balance(self) -> PhaseDecorator[BalanceHook]:
        """Each attempt, before a server is chosen: pick one of `upstream.servers`, or leave it to the gateway."""
        return PhaseDecorator("balance", self._hooks)

    @property
    def upstream_request(self) -> PhaseDecorator[UpstreamRequestHook]:
        """Each attempt, before bytes go out: sign, add headers."""
        return PhaseDecorator("upstream_request", self._hooks)

    @property
    def response(self) -> PhaseDecorator[ResponseHook]:
        """The response head is there: change status and headers, or replace the response."""
        return PhaseDecorator("response", self._hooks)

    @property
    def response_body(self) -> BodyPhaseDecorator[ResponseBodyHook]:
        """The response's body is on its way: keep, replace or drop a chunk."""
        return BodyPhaseDecorator("response_body", self._hooks)

    @property
    def websocket_message(self) -> PhaseDecorator[MessageHook]:
        """A message of a WebSocket came, from either side: replace it, drop it, send others, close."""
        return PhaseDecorator("websocket_message", self._hooks)

    @property
    def error(self) -> PhaseDecorator[ErrorHook]:
        """Something failed before a response began: give the answer."""
        return PhaseDecorator("error", self._hooks)

    @property
    def log(self) -> PhaseDecorator[LogHook]:
        """After the last byte: record; never delays the client."""
        return PhaseDecorator("log", self._hooks)


class GatewayPhases(RoutePhases):
    """All phases, as decorators."""

    @property
    def startup(self) -> PhaseDecorator[WorkerHook]:
        """Once when a worker starts, before it accepts: open pools, start tasks."""
        return PhaseDecorator("startup", self._hooks)

    @property
    def shutdown(self) -> PhaseDecorator[WorkerHook]:
        """Once when a worker stops, after its last request: close pools, end tasks."""
        return PhaseDecorator("shutdown", self._hooks)

    @property
    def connect(self) -> PhaseDecorator[ConnectHook]:
        """A connection is accepted, before its first byte of HTTP: refuse it, set its limits."""
        return PhaseDecorator("connect", self._hooks)

    @property
    def client_hello(self) -> PhaseDecorator[ClientHelloHook]:
        """The first TLS message is there: give the certificate, choose the server, refuse."""
        return PhaseDecorator("client_hello", self._hooks)

    @property
    def rewrite(self) -> PhaseDecorator[RequestHook]:
        """The head is read, before routing: change method, target and headers."""
        return PhaseDecorator("rewrite", self._hooks)


class ListenerPhases:
    """The phases of one listener, as decorators."""

    _hooks: list[RegisteredHook]

    @property
    def connect(self) -> PhaseDecorator[ConnectHook]:
        """A connection is accepted here, before its first byte of HTTP: refuse it, set its limits."""
        return PhaseDecorator("connect", self._hooks)

    @property
    def client_hello(self) -> PhaseDecorator[ClientHelloHook]:
        """The first TLS message is there: give the certificate, choose the server, refuse."""
        return PhaseDecorator("client_hello", self._hooks)


class StreamPhases(ListenerPhases):
    """The phases of a listener for bytes or datagrams, as decorators."""

    @property
    def client_data(self) -> PhaseDecorator[ChunkHook]:
        """A chunk or datagram came from the client: let it pass, replace it, or `connection.refuse()`."""
        return PhaseDecorator("client_data", self._hooks)

    @property
    def server_data(self) -> PhaseDecorator[ChunkHook]:
        """A chunk or datagram came from the server: let it pass, replace it, or `connection.refuse()`."""
        return PhaseDecorator("server_data", self._hooks)


def _reference(function: Hook) -> str:
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}:{getattr(function, '__qualname__', type(function).__qualname__)}"
