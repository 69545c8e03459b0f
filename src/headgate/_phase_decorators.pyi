"""The decorators of every phase, for type checkers; a test holds this against the table of phases."""

from collections.abc import Awaitable, Callable
from typing import Any

from headgate._core import (
    Attempt,
    Certificate,
    Connection,
    FailedAttempt,
    Failure,
    Request,
    ResponseView,
    ServerView,
    UpstreamView,
    WebSocketMessage,
)

from ._decorators import BodyPhaseDecorator, PhaseDecorator, RegisteredHook
from .message import Response
from .server_state import ServerStateChange

HookResult = Response | None
RequestHook = Callable[[Request], HookResult | Awaitable[HookResult]]
Piece = bytes | bytearray | memoryview | HookResult
RequestBodyHook = Callable[[Request, bytes, bool], Piece | Awaitable[Piece]]
Picked = ServerView | str | HookResult
BalanceHook = Callable[[Request, UpstreamView], Picked | Awaitable[Picked]]
UpstreamRequestHook = Callable[[Request, Attempt], HookResult | Awaitable[HookResult]]
RetryHook = Callable[[Request, FailedAttempt], bool | Awaitable[bool | None] | None]
ResponseHook = Callable[[Request, ResponseView], HookResult | Awaitable[HookResult]]
ResponseBodyHook = Callable[[Request, ResponseView, bytes, bool], Piece | Awaitable[Piece]]
Data = str | bytes | bytearray | memoryview
Messages = Data | list[Any] | tuple[Any, ...] | None
MessageHook = Callable[[Request, WebSocketMessage], Messages | Awaitable[Messages]]
ErrorHook = Callable[[Request, Failure], HookResult | Awaitable[HookResult]]
LogHook = Callable[[Request, ResponseView], Awaitable[None] | None]
ConnectHook = Callable[[Connection], Awaitable[None] | None]
Pem = str | bytes
Shown = Certificate | Pem | tuple[Pem, Pem] | None
ClientHelloHook = Callable[[Connection], Shown | Awaitable[Shown]]
ChunkHook = Callable[[Connection, bytes], bytes | Awaitable[bytes | None] | None]
WorkerHook = Callable[[], Awaitable[Any] | Any]
ServerStateHook = Callable[[ServerStateChange], Awaitable[Any] | Any]

class RoutePhases:
    """The phases that gateways and routes share, as decorators."""

    _hooks: list[RegisteredHook]

    @property
    def request(self) -> PhaseDecorator[RequestHook]:
        """After the route was chosen: authorize, respond, choose the upstream, change headers."""

    @property
    def request_body(self) -> BodyPhaseDecorator[RequestBodyHook]:
        """The request body is sent to a server: keep, replace or drop a chunk, or respond."""

    @property
    def balance(self) -> PhaseDecorator[BalanceHook]:
        """Each attempt, before a server is chosen: pick one of `upstream.servers`, or leave it to the gateway."""

    @property
    def upstream_request(self) -> PhaseDecorator[UpstreamRequestHook]:
        """Each attempt, before the request is sent: sign, add headers, or respond."""

    @property
    def retry(self) -> PhaseDecorator[RetryHook]:
        """An attempt would be repeated, by the rules of `retries`: return False to keep what came of it."""

    @property
    def response(self) -> PhaseDecorator[ResponseHook]:
        """The response head has arrived: change status and headers, or replace the response."""

    @property
    def response_body(self) -> BodyPhaseDecorator[ResponseBodyHook]:
        """The response body is sent to the client: keep, replace or drop a chunk."""

    @property
    def websocket_message(self) -> PhaseDecorator[MessageHook]:
        """A WebSocket message arrived, from either side: replace it, drop it, send others, close."""

    @property
    def error(self) -> PhaseDecorator[ErrorHook]:
        """The request failed before a response started: make the response."""

    @property
    def log(self) -> PhaseDecorator[LogHook]:
        """After the last byte: record; never delays the client."""

class GatewayPhases(RoutePhases):
    """All phases, as decorators."""

    @property
    def startup(self) -> PhaseDecorator[WorkerHook]:
        """Once when a worker starts, before it accepts connections: open pools, start tasks."""

    @property
    def shutdown(self) -> PhaseDecorator[WorkerHook]:
        """Once when a worker stops, after its last request: close pools, end tasks."""

    @property
    def server_state(self) -> PhaseDecorator[ServerStateHook]:
        """A health check, an ejection or a command has changed the state of a server; in one worker: notify, record."""

    @property
    def connect(self) -> PhaseDecorator[ConnectHook]:
        """A connection was accepted, before its first byte of HTTP: refuse it, set its limits."""

    @property
    def client_hello(self) -> PhaseDecorator[ClientHelloHook]:
        """The ClientHello has arrived: select the certificate, choose the upstream, refuse."""

    @property
    def rewrite(self) -> PhaseDecorator[RequestHook]:
        """The request head was read, before routing: change method, target and headers, or respond."""

class ListenerPhases:
    """The phases of a listener, as decorators."""

    _hooks: list[RegisteredHook]

    @property
    def connect(self) -> PhaseDecorator[ConnectHook]:
        """A connection was accepted, before its first byte of HTTP: refuse it, set its limits."""

    @property
    def client_hello(self) -> PhaseDecorator[ClientHelloHook]:
        """The ClientHello has arrived: select the certificate, choose the upstream, refuse."""

class StreamPhases(ListenerPhases):
    """The phases of a TCP or UDP listener, as decorators."""

    @property
    def client_data(self) -> PhaseDecorator[ChunkHook]:
        """A chunk or datagram arrived from the client: keep it, replace it, or `connection.refuse()`."""

    @property
    def server_data(self) -> PhaseDecorator[ChunkHook]:
        """A chunk or datagram arrived from the server: keep it, replace it, or `connection.refuse()`."""
