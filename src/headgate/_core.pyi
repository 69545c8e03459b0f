"""The engine: the loop, a worker's controls, and what hooks see of a request."""

import asyncio
import contextvars
import types
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from datetime import datetime
from typing import Any, Final, Generic, Literal, Protocol, Self, TypeAlias, TypeVar, final, overload

from typing_extensions import disjoint_base

from headgate._cookies import SameSite
from headgate.form import Form
from headgate.query_params import QueryParams

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

ZONE_CELLS: Final[int]
"""The cells that a worker's zone must have at least."""

class _HookSpecLike(Protocol):
    @property
    def phase(self) -> str: ...
    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def is_async(self) -> bool: ...
    @property
    def deadline_ms(self) -> int: ...
    @property
    def on_error(self) -> Literal["closed", "open"]: ...
    @property
    def name(self) -> str: ...

class _HasItems(Protocol):
    def items(self) -> Iterable[tuple[str, str]]: ...

@final
class HookSpec:
    """A hook as the engine takes it. Any object with these attributes will do."""

    def __new__(
        cls,
        *,
        phase: str,
        function: Callable[..., Any],
        is_async: bool,
        deadline_ms: int,
        on_error: Literal["closed", "open"],
        name: str,
    ) -> HookSpec: ...
    @property
    def phase(self) -> str: ...
    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def is_async(self) -> bool: ...
    @property
    def deadline_ms(self) -> int: ...
    @property
    def on_error(self) -> Literal["closed", "open"]: ...
    @property
    def name(self) -> str: ...

def check_native(
    phase: str, told: tuple[str, Sequence[Dictionary], Sequence[Passed], Sequence[Period], Sequence[Tally]], /
) -> None:
    """Refuses native actions that are not valid, with ValueError."""

@final
class Core:
    """One worker: listeners, connections and hooks on the thread of one asyncio loop.

    `None` in place of the loop: one that takes no hooks, for which asyncio is not loaded.
    """

    def __new__(cls, loop: asyncio.AbstractEventLoop | None) -> Core: ...
    def watch(self, fd: int) -> None:
        """Makes `poll` return when asyncio's epoll descriptor is readable; the descriptor stays the caller's."""
    def poll(self, timeout: float | None, /) -> bool:
        """Serves until asyncio has work, at most `timeout` seconds (None: without a limit).

        Gives whether asyncio's descriptor has events; if not, asyncio need not look.
        """
    def apply(
        self,
        snapshot: str,
        hooks: Sequence[_HookSpecLike],
        /,
        *,
        released: Callable[[], object] | None = None,
    ) -> None:
        """Applies a configuration; requests in flight keep the old one. ValueError says what is wrong."""
    def prepare(
        self,
        snapshot: str,
        hooks: Sequence[_HookSpecLike],
        /,
        *,
        released: Callable[[], object] | None = None,
    ) -> None:
        """Prepares a configuration without applying it; ValueError says what is wrong with it.

        `released` is called by asyncio once it was replaced and the last request that began under it is done, or when
        it is discarded.
        """
    def prepare_aside(
        self,
        fd: int,
        start: int,
        hooks: Sequence[_HookSpecLike],
        done: Callable[[str | None], object],
        /,
        *,
        released: Callable[[], object] | None = None,
    ) -> None:
        """Prepares a configuration while the loop serves on: the snapshot is what follows `start` in a file in memory.

        Takes the descriptor over. Calls `done` with None once it is ready, or with what is wrong with it; not at all if
        anything else is prepared, applied or discarded before.
        """
    def prepare_difference(self, difference: str, /) -> None:
        """Prepares other routes, as the JSON of a difference says; all else stays. ValueError says what is wrong."""
    def commit(self) -> None:
        """Applies what was prepared, in one swap. RuntimeError if nothing was."""
    def discard(self) -> None:
        """Discards what was prepared or is being, if anything is."""
    def unlisten(self, name: str, /) -> None:
        """Stops accepting at a listener's address; its connections end after their current response.

        To be called before a configuration without that listener is applied.
        """
    def zone(self, fd: int, slot: int, /) -> None:
        """Counts in a slot of shared memory, from before the first `apply`; the descriptor stays the caller's."""
    def use_metrics(self, metrics: Metrics, /) -> None:
        """Counts requests in series of these metrics, from the first `apply` after it on."""
    def listen(self, fd: int, name: str, address: str) -> None:
        """Accepts connections from a listening socket (TCP or Unix), which it takes over: pass `socket.detach()`."""
    def serve(
        self, fd: int, *, address: str, port: int, scheme: Literal["http", "https"], listener: str
    ) -> None:
        """Serves the other end of a connected Unix socket, which it takes over, as a connection of this client.

        It goes through a stream in memory and counts towards no limit of connections.
        """
    def advance(self, seconds: float, /) -> None:
        """Advances the clock of all deadlines, for tests; asyncio's clock is the loop's own."""
    def replace_origin(self, origin: str, socket: str, /) -> None:
        """For tests: an origin (`https://host`) that is fetched from is served by this socket (`unix:/path`).

        No other one is reached any more.
        """
    def hook_times(self) -> list[tuple[int, int, int, int, int, list[int]]]:
        """The time that each hook of the current configuration has taken, in the order of `apply`.

        Calls, failures, microseconds in all, of the longest call, and while it had the loop for itself; then the
        calls in each bucket: under 1 us, and from there twice as wide each.
        """
    @property
    def heartbeat(self) -> Heartbeat:
        """Tells another thread what blocks the event loop."""
    def name_requests(self, variable: contextvars.ContextVar[Any] | None, /) -> None:
        """Sets a context variable to the view of each request from now on; `None` ends that."""
    def count_loop_stall(self) -> None:
        """Counts one time that Python code has blocked the event loop for too long."""
    def use_ticket_keys(self, keys: list[bytes], /) -> None:
        """Takes the keys of TLS session tickets, the newest first: 16 bytes of name and 32 of secret each."""
    def use_http3_secret(self, secret: bytes, /) -> None:
        """Takes the secret that all workers of the gateway share for HTTP/3, before a socket for it is given."""
    def drain(self) -> None:
        """Stops accepting; connections end after their current response, idle ones after a moment."""
    def close_websockets(self) -> int:
        """Closes every WebSocket whose messages hooks see, with 1001; how many are open."""
    def close(self) -> None:
        """Stops accepting and ends every connection."""
    def flush_traces(self) -> int:
        """Sends what is recorded of traces, before the worker ends; gives how many requests' spans are not sent yet."""
    def connections(self) -> int:
        """Open client connections of this worker."""
    def stats(self) -> dict[str, int]:
        """The named counters, summed over all slots of the zone."""
    def count(self, name: str, /) -> None:
        """Counts something that happens in Python under one of the counters' names; ValueError for any other."""
    def reopen_logs(self) -> None:
        """Reopens the access log's file, after it was moved."""
    def follow_log(self, fd: int, /) -> None:
        """Sends the line of each request, as JSON, into this socket, which it takes over, until its reader goes."""
    def flush_logs(self) -> None:
        """Flushes the access log."""

@final
class Heartbeat:
    """Tells a watching thread whether Python code has blocked the event loop for too long."""

    def wait_for_stall(self, limit_ms: int, /) -> tuple[int, str] | None:
        """Sleeps until Python code has blocked the event loop for `limit_ms` milliseconds.

        Gives the milliseconds so far and the id of the request whose hook it is (empty: asyncio runs); `None` after
        `stop`.
        """
    def stop(self) -> None:
        """Makes `wait_for_stall` return."""

@final
class Client:
    """The client side of a connection."""

    @property
    def address(self) -> str:
        """The address without port; `unix:` for a Unix socket."""
    @property
    def port(self) -> int:
        """The port, 0 for a Unix socket."""
    @property
    def listener(self) -> str:
        """The listener's name."""

@final
class Tls:
    """What a client's TLS handshake negotiated."""

    @property
    def version(self) -> Literal["TLSv1.3", "TLSv1.2"]:
        """The version."""
    @property
    def cipher(self) -> str:
        """The cipher suite."""
    @property
    def server_name(self) -> str | None:
        """The server name that the client asked for (SNI), in lower case."""
    @property
    def alpn(self) -> str:
        """The application protocol negotiated (ALPN); empty if the client offered none."""
    @property
    def is_resumed(self) -> bool:
        """Whether a session was resumed."""

@final
class ClientCertificate:
    """A certificate that a client has presented; nothing it says is verified unless `is_valid`."""

    @property
    def is_valid(self) -> bool:
        """Whether a trusted authority has signed it and it is valid now."""
    @property
    def verdict(self) -> str:
        """`valid`, or why it is not: `expired`, `not_yet_valid`, `revoked`, `unknown_issuer`, `unfit`, `bad`."""
    @property
    def subject(self) -> str:
        """The subject (RFC 4514)."""
    @property
    def issuer(self) -> str:
        """The issuer (RFC 4514)."""
    @property
    def serial(self) -> str:
        """The serial number in hex."""
    @property
    def names(self) -> list[str]:
        """Alternative names: `DNS:name`, `email:address`, `URI:uri`, `IP:address`."""
    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hex."""
    @property
    def not_before(self) -> int:
        """When its validity begins, in seconds since 1970."""
    @property
    def not_after(self) -> int:
        """When its validity ends, in seconds since 1970."""
    @property
    def pem(self) -> str:
        """The certificate, in DER."""

@final
class Headers:
    """Header fields of a request or response.

    Names are case-insensitive (RFC 9110 section 5.1) and are listed in lower case. Values are UTF-8, with
    other bytes as surrogates (PEP 383). Fields that frame the message or belong to one connection are not listed, the
    gateway writes those; `host`, `content-length` and `upgrade` can still be read, and a request's `host` can be set.
    """

    @overload
    def get(self, name: str, default: None = None, /) -> str | None: ...
    @overload
    def get(self, name: str, default: _T, /) -> str | _T:
        """The first value of a field."""
    def get_all(self, name: str, /) -> list[str]:
        """All values of a field, in order."""
    def add(self, name: str, value: str, /) -> None:
        """Adds a field line and keeps those of the same name."""
    def update(self, fields: Mapping[str, str] | _HasItems | Iterable[tuple[str, str]], /) -> None:
        """Sets fields, and replaces those of the same name."""
    def setdefault(self, name: str, default: str, /) -> str:
        """The first value of a field, which is set to `default` if it is absent."""
    @overload
    def pop(self, name: str, /) -> str: ...
    @overload
    def pop(self, name: str, default: _T, /) -> str | _T:
        """Removes a field and returns its first value."""
    def keys(self) -> list[str]:
        """The names in order, in lower case, once for each field line."""
    def values(self) -> list[str]:
        """The values in order."""
    def items(self) -> list[tuple[str, str]]:
        """Names and values in order."""
    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Names as the sender wrote them, and values, in order."""
    def __getitem__(self, name: str, /) -> str: ...
    def __setitem__(self, name: str, value: str, /) -> None: ...
    def __delitem__(self, name: str, /) -> None: ...
    def __contains__(self, name: object, /) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[str]: ...

@final
class WebSocket:
    """A WebSocket, as `request.websocket`. It may be kept after its request, and is closed then."""

    def to_client(self, data: str | bytes | bytearray | memoryview, /) -> None:
        """Sends a message to the client, past the hooks; before the 101 it waits for that.

        Raises `ConnectionError` once it is closed, `Overloaded` past `websocket.max_queued_bytes`.
        """
    def to_server(self, data: str | bytes | bytearray | memoryview, /) -> None:
        """Sends a message to the server, as `to_client`."""
    def close(self, code: int = 1000, reason: str = "", /) -> None:
        """Closes both sides, after what was sent before; only the first call counts. A reason has at most 123 bytes."""
    @property
    def is_open(self) -> bool:
        """Whether messages may still be sent."""
    @property
    def closed_by(self) -> Literal["client", "server", "gateway"] | None:
        """Which side closed it; None while it is open."""
    @property
    def close_code(self) -> int | None:
        """The code it was closed with; None while it is open, and where a side disconnected without one."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class WebSocketMessage:
    """A WebSocket message, before it is forwarded."""

    @property
    def data(self) -> str | bytes:
        """`str` for text, `bytes` for binary messages."""
    @property
    def from_client(self) -> bool:
        """Whether the client sent it; otherwise the server did."""

@final
class ServerView:
    """A server of an upstream, as `balance` hooks see it."""

    @property
    def upstream(self) -> str:
        """The upstream's name."""
    @property
    def address(self) -> str:
        """The address as configured."""
    @property
    def weight(self) -> int:
        """Its weight, from 1."""
    @property
    def backup(self) -> bool:
        """Whether it is used only while no other is available."""
    @property
    def priority(self) -> int:
        """Its priority; the lowest comes first."""
    @property
    def zone(self) -> str | None:
        """Where it is, if that is configured."""
    @property
    def metadata(self) -> dict[str, str]:
        """What it is marked with."""
    @property
    def requests(self) -> int:
        """The requests in flight to it, over all workers."""
    @property
    def is_available(self) -> bool:
        """Whether it is in rotation, not excluded because of failures."""
    @property
    def is_tried(self) -> bool:
        """Whether this request was already sent to it."""

@final
class UpstreamView:
    """An upstream, as `balance` hooks see it."""

    @property
    def name(self) -> str:
        """The name."""
    @property
    def servers(self) -> list[ServerView]:
        """The servers, in the order listed."""

@final
class Request:
    """A view of one request; usable only on the thread of its event loop, until its last `log` hook is done.

    Method, target, path, host and upstream can be set until the first attempt to send the request.
    """

    @property
    def method(self) -> str:
        """The method."""
    @method.setter
    def method(self, method: str, /) -> None: ...
    @property
    def target(self) -> str:
        """Path and query as received, in origin form."""
    @target.setter
    def target(self, target: str, /) -> None: ...
    @property
    def path(self) -> str:
        """The target before the `?`, as received: still percent-encoded."""
    @path.setter
    def path(self, path: str, /) -> None: ...
    @property
    def query(self) -> str:
        """The target after the `?`, as received; empty without one."""
    @property
    def query_params(self) -> QueryParams:
        """The decoded query parameters (`+` is a space), as in Starlette: a repeated name gives its last value."""
    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by name, as in Starlette: of a repeated name the last value, without quotes around it."""
    @property
    def host(self) -> str:
        """The requested authority: from an absolute target, otherwise the Host field; with the port if there is one."""
    @host.setter
    def host(self, host: str, /) -> None: ...
    @property
    def version(self) -> Literal["1.0", "1.1", "2", "3"]:
        """The HTTP version of the client."""
    @property
    def scheme(self) -> Literal["http", "https"]:
        """How the client reached the gateway."""
    @property
    def client(self) -> Client:
        """The client."""
    @property
    def websocket(self) -> WebSocket | None:
        """The WebSocket that the request opens, on routes with `websocket_message` hooks; otherwise None."""
    @property
    def tls(self) -> Tls | None:
        """What the TLS handshake negotiated; None on a plain connection."""
    @property
    def client_certificate(self) -> ClientCertificate | None:
        """The certificate that the client has presented, valid or not; None without one."""
    @property
    def has_body(self) -> bool:
        """Whether the request has a body, whatever its framing and HTTP version (RFC 9112 section 6). One of a length
        that is not known yet may turn out empty. After `set_body` it speaks of the new body."""
    @property
    def headers(self) -> Headers:
        """The header fields."""
    @property
    def params(self) -> dict[str, str]:
        """The path's parameters by name, percent-decoded; empty before a route is chosen."""
    @property
    def state(self) -> types.SimpleNamespace:
        """Values that the hooks of this request share."""
    @property
    def id(self) -> str:
        """The request's id, as in logs and error responses."""
    @property
    def route_name(self) -> str:
        """The chosen route's name; empty before routing."""
    @property
    def attempt(self) -> int:
        """The number of the current attempt, from 1; 0 before the first."""
    @property
    def upstream(self) -> str | None:
        """The name of the upstream that gets the request; set it to choose another one, or a server by its address."""
    @upstream.setter
    def upstream(self, name: str, /) -> None: ...
    def fetch(
        self,
        target: str,
        /,
        *,
        method: str | None = None,
        headers: _Fields | None = None,
        body: _FetchBody | None = None,
        json: Any = None,
        timeout: float | None = None,
        redirects: int = 0,
    ) -> Awaitable[FetchResponse]:
        """Asks the gateway's own routes on behalf of this request's client: hooks, upstreams, limits apply as always.

        Host is this request's unless given. It has no line in the access log, and goes 8 deep at most.
        """
    @property
    def trailers(self) -> Headers:
        """The trailer fields: the client's once its body has ended; what is set before its last chunk goes out too."""
    def body(self, *, decode: bool = False) -> Coroutine[Any, Any, bytes]:
        """Reads the whole body, which is still forwarded; `decode` decodes its Content-Encoding."""
    def text(self) -> Coroutine[Any, Any, str]:
        """Reads the whole body, decoded, as text."""
    def json(self) -> Coroutine[Any, Any, Any]:
        """Reads the whole body, decoded, as JSON; raises `ValueError` if it is invalid."""
    def form(self) -> Coroutine[Any, Any, Form]:
        """Reads the whole body, decoded, as a form; raises `ValueError` if it is invalid."""
    def stream(self, *, keep: bool = True) -> AsyncIterator[bytes]:
        """The body's chunks as they arrive; without `keep` they are not forwarded."""
    def set_body(
        self,
        body: str | bytes | bytearray | memoryview | AsyncIterator[bytes] | Iterable[bytes] | None,
        /,
        *,
        content_type: str | None = None,
    ) -> None:
        """Replaces the body; digests and Content-Encoding of the old one are removed."""

@final
class ResponseView:
    """A view of the head of a server's response; in `log` hooks also of a local reply."""

    @property
    def status(self) -> int:
        """The status: the one sent to the client, or before that the server's."""
    @status.setter
    def status(self, status: int, /) -> None: ...
    @property
    def reason(self) -> str:
        """The server's reason phrase; empty if there is none."""
    @property
    def headers(self) -> Headers:
        """The header fields."""
    def set_cookie(
        self,
        key: str,
        value: str = "",
        max_age: int | None = None,
        expires: datetime | str | int | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Adds a `Set-Cookie` field (RFC 6265), as in Starlette; `max_age` is seconds. `ValueError` for a bad name."""
    def delete_cookie(
        self,
        key: str,
        path: str = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Makes the browser delete a cookie: name, path and domain must be those it was set with."""
    @property
    def trailers(self) -> Headers:
        """The trailer fields: the server's once its body has ended; what is set before its last chunk goes out too."""
    @property
    def sent_bytes(self) -> int:
        """Bytes sent to the client so far, head and body."""

@final
class Attempt:
    """One attempt to send a request to a server."""

    @property
    def number(self) -> int:
        """From 1; more for a retry or a hedge."""
    @property
    def upstream(self) -> str:
        """The upstream's name."""
    @property
    def server(self) -> str:
        """The server's address as configured."""

@final
class FailedAttempt:
    """An attempt that another one may follow."""

    @property
    def number(self) -> int:
        """From 1; more for a retry or a hedge."""
    @property
    def upstream(self) -> str:
        """The upstream's name."""
    @property
    def server(self) -> str:
        """The server's address as configured."""
    @property
    def kind(self) -> str:
        """The kind of failure, such as `connect_failed`; empty if there was a response."""
    @property
    def status(self) -> int:
        """The status of the response; 0 if there was none."""

@final
class Connection:
    """A client connection, as connection hooks see it; usable only on the thread of its event loop."""

    @property
    def address(self) -> str:
        """The client's address without port, from the PROXY header if there is one; `unix:` for a Unix socket."""
    @property
    def port(self) -> int:
        """The client's port, 0 for a Unix socket."""
    @property
    def peer(self) -> str:
        """The address at the other end of the socket: the client's, or that of a proxy before this gateway."""
    @property
    def destination(self) -> tuple[str, int] | None:
        """The address and port that the client connected to, if known."""
    @property
    def listener(self) -> str:
        """The listener's name."""
    @property
    def protocol(self) -> str:
        """`http`, `tcp` or `udp`."""
    @property
    def proxy(self) -> ProxyInfo | None:
        """The contents of the PROXY header, if there was one."""
    @property
    def server_name(self) -> str | None:
        """The server name that a TLS client sent (SNI), in lower case; available from `client_hello` on."""
    @property
    def alpn(self) -> list[str]:
        """The application protocols a TLS client offers."""
    @property
    def tls_versions(self) -> list[str]:
        """The versions a TLS client offers, as `TLSv1.3`."""
    @property
    def ciphers(self) -> list[str]:
        """The cipher suites a TLS client offers, by name, or number in hex."""
    @property
    def client_certificates(self) -> Literal["none", "optional", "required", "routes"] | None:
        """How client certificates are requested; None where TLS is not terminated here."""
    @client_certificates.setter
    def client_certificates(self, mode: Literal["none", "optional", "required", "routes"], /) -> None: ...
    @property
    def upstream(self) -> str | None:
        """The upstream, or the server's address, that the connection is passed through to; None: as configured."""
    @upstream.setter
    def upstream(self, name: str | None, /) -> None: ...
    @property
    def state(self) -> types.SimpleNamespace:
        """Values that the hooks of this connection share."""
    def refuse(self, reason: str = "", /) -> None:
        """Closes the connection without serving it; the reason is logged."""
    @property
    def idle(self) -> float | None:
        """The idle timeout in seconds: between two requests, or on a TCP connection. None: as configured."""
    @idle.setter
    def idle(self, seconds: float | None, /) -> None: ...
    @property
    def lifetime(self) -> float | None:
        """The maximum duration of a TCP connection in seconds. None: as configured."""
    @lifetime.setter
    def lifetime(self, seconds: float | None, /) -> None: ...
    @property
    def max_requests(self) -> int | None:
        """The maximum number of requests on the connection. None: as configured."""
    @max_requests.setter
    def max_requests(self, most: int | None, /) -> None: ...

@final
class Certificate:
    """A certificate chain with its private key, parsed and checked, for a `client_hello` hook to return."""

    def __new__(
        cls, chain: str | bytes, key: str | bytes | None = None, /, *, ocsp: bytes | None = None
    ) -> Certificate:
        """Reads PEM; without `key` the chain's text holds it too. `ocsp` is a response in DER to staple.

        `ValueError` says what is wrong with which of them.
        """
    @property
    def names(self) -> list[str]:
        """The names in the certificate, in lower case."""
    @property
    def not_after(self) -> int:
        """When its validity ends, in seconds since 1970."""

@final
class ProxyInfo:
    """What a PROXY header said beyond addresses."""

    @property
    def version(self) -> int:
        """1 or 2."""
    @property
    def is_local(self) -> bool:
        """Whether the proxy connected on its own behalf (LOCAL), as health checks do."""
    @property
    def alpn(self) -> str | None:
        """The application protocol, for instance `h2`."""
    @property
    def authority(self) -> str | None:
        """The host name the client asked for."""
    @property
    def unique_id(self) -> bytes | None:
        """An id of the connection."""
    @property
    def tls(self) -> dict[str, Any] | None:
        """The client's TLS connection: `version`, `common_name`, `cipher`, `verified` and so on."""
    @property
    def other(self) -> list[tuple[int, bytes]]:
        """All other values: types and bytes."""

# The kinds of failures; a test compares them with `failures()`.
_FailureKind: TypeAlias = Literal[
    "bad_chunk",
    "bad_chunk_end",
    "bad_chunk_extension",
    "bad_chunk_size",
    "bad_client_certificate",
    "bad_connection",
    "bad_content_coding",
    "bad_content_length",
    "bad_field_name",
    "bad_hook_response",
    "bad_host",
    "bad_method",
    "bad_path",
    "bad_reason_phrase",
    "bad_server_address",
    "bad_status",
    "bad_target",
    "bad_trailer",
    "bad_transfer_encoding",
    "bad_upgrade",
    "bad_version",
    "bad_websocket_response",
    "bare_cr",
    "bare_lf",
    "body_consumed",
    "body_too_large",
    "buffered_body_too_large",
    "chunk_extensions_too_large",
    "circuit_open",
    "client_body_timeout",
    "client_disconnected",
    "client_head_timeout",
    "connect_failed",
    "connect_not_supported",
    "connect_timeout",
    "content_length_and_transfer_encoding",
    "content_length_repeated",
    "control_character",
    "deadline_exceeded",
    "file_truncated",
    "folded_field",
    "framing_lookalike",
    "grpc_deadline_exceeded",
    "head_too_large",
    "hook_body_failed",
    "hook_body_timeout",
    "hook_body_too_large",
    "hook_failed",
    "hook_replied",
    "host_missing",
    "host_repeated",
    "method_not_allowed",
    "misdirected",
    "no_client_certificate",
    "no_colon",
    "no_file",
    "no_hook_response",
    "no_route",
    "no_server",
    "nul_byte",
    "overlong_utf8",
    "path_above_root",
    "path_ambiguous",
    "path_bad_escape",
    "path_encoded_slash",
    "path_hidden_dots",
    "path_not_absolute",
    "path_nul",
    "pull_bad_response",
    "pull_queue_full",
    "pull_wait_timeout",
    "pull_worker_lost",
    "pull_worker_timeout",
    "queue_full",
    "queue_shed",
    "queue_timeout",
    "redirect_without_host",
    "send_timeout",
    "server_removed",
    "shutting_down",
    "space_before_colon",
    "spool_failed",
    "target_too_long",
    "too_many_fields",
    "too_many_interim_responses",
    "trailers_too_large",
    "transfer_encoding_in_http10",
    "underscore_in_field_name",
    "unexpected_transfer_coding",
    "unexpected_upgrade",
    "unknown_content_coding",
    "unsupported_transfer_coding",
    "upgrade_with_body",
    "upstream_closed",
    "upstream_head_timeout",
    "upstream_idle_timeout",
    "upstream_refused",
    "upstream_reset",
    "upstream_tls",
    "upstream_tls_timeout",
    "upstream_truncated",
    "version_unsupported",
    "websocket_bad_utf8",
    "websocket_handshake",
    "websocket_protocol",
    "websocket_too_large",
    "websocket_unsupported",
    "websocket_version",
]

@final
class Failure:
    """A request that could not be served."""

    @property
    def kind(self) -> _FailureKind:
        """The kind, for instance `connect_failed` or `upstream_head_timeout`."""
    @property
    def source(self) -> Literal["client", "upstream", "gateway"]:
        """The party at fault."""
    @property
    def status(self) -> int:
        """The status that the client gets if no hook responds."""
    @property
    def message(self) -> str:
        """One sentence."""
    @property
    def retry_safe(self) -> bool:
        """Whether a retry is safe: the request was not processed, or repeating it is harmless."""

def failures() -> list[tuple[_FailureKind, Literal["client", "upstream", "gateway"], int, str, str, str]]:
    """All kinds of failures: kind, whose fault, status, retry, level of the log, meaning."""

def phases() -> list[
    tuple[
        str,
        Literal["connection", "listener", "gateway", "route", "matcher"],
        list[Literal["can_respond", "has_body", "without_route", "repeats"]],
    ]
]:
    """The engine's table of phases, in the order of a request's life: name, scope, and the flags that are set."""

_Key = str | bytes

@final
class Passed:
    """Values for which hooks have let requests pass, in one process; see `headgate.native.Remember`."""

    def __new__(cls) -> Passed: ...
    def clear(self) -> None:
        """Forgets all: what the hook decides by has changed."""
    def __len__(self) -> int: ...

@final
class Period:
    """A span of the calendar; at first it is over. See `headgate.native.Count`."""

    def __new__(cls) -> Period: ...
    def set(self, begin: float, end: float, /) -> None:
        """Moves it: begin and end in seconds since 1970."""

@final
class Tally:
    """Calls by the shapes of their targets, in one process; see `headgate.native.TallyCall`."""

    def __new__(cls) -> Tally: ...
    def add(
        self,
        target: str,
        method: str,
        status: int,
        request_type: str | None,
        response_type: str | None,
        is_anonymous: bool,
        /,
    ) -> bool:
        """Counts a call; false if there is no room for it."""
    def take(self) -> list[tuple[str, str, int, str, str, bool, int, int, int]]:
        """Target, method, status, types of both bodies and whether without credentials, then how many calls were like
        that and the seconds since 1970 of the first one and the last; counting begins anew."""

@disjoint_base
class Dictionary:
    """A dictionary in memory that all workers share; see `headgate.shared.Shared`, which users have."""

    def __new__(cls, fd: int, /) -> Self:
        """Maps the dictionary behind a descriptor, which stays the caller's; ValueError if it is none."""
    @overload
    def get(self, key: _Key, default: None = None, /) -> Any: ...
    @overload
    def get(self, key: _Key, default: _T, /) -> Any | _T:
        """The value of a key, or the default."""
    def get_stale(self, key: _Key, default: Any = None, /) -> tuple[Any, bool]:
        """The value of a key even if it has expired, and whether it has; or the default and false."""
    def set(self, key: _Key, value: Any, ttl: float | None = None) -> None:
        """Sets a value, for `ttl` seconds (None or 0: no expiry)."""
    def add(self, key: _Key, value: Any, ttl: float | None = None) -> bool:
        """Sets a value where there is none; says whether it did."""
    def replace(self, key: _Key, value: Any, ttl: float | None = None) -> bool:
        """Sets a value where there is one; says whether it did."""
    def delete(self, key: _Key, /) -> bool:
        """Removes a key, value or list; says whether it was there."""
    def incr(
        self, key: _Key, by: float | None = None, init: float | None = 0, ttl: float | None = None
    ) -> Any:
        """Adds to a number and gives the sum; begins at `init` (none: KeyError) and then lives for `ttl` seconds."""
    def throttle(
        self, key: _Key, step: float, depth: float, now: float | None = None, /
    ) -> tuple[float, float]:
        """Decides on one request by the generic cell rate algorithm (ITU-T I.371), in one step for all workers.

        A request costs `step` seconds of a bucket that is `depth` seconds deep: 10 requests a second and 20 at once are
        `0.1, 2.0`. Gives the seconds that it is to wait (0.0: it is let in), and those until the bucket is full again;
        one that is to wait costs nothing. `now` is in seconds of a clock that does not go back; default:
        `time.monotonic()`. Raises `ValueError` for times past ten years, `TypeError` where the value is not a float.
        """
    def lpush(self, key: _Key, value: Any, /) -> int:
        """Adds a value at the left end of a list; gives its length."""
    def rpush(self, key: _Key, value: Any, /) -> int:
        """Adds a value at the right end of a list; gives its length."""
    def lpop(self, key: _Key, default: Any = None, /) -> Any:
        """Takes the value at the left end of a list; the default if there is no list."""
    def rpop(self, key: _Key, default: Any = None, /) -> Any:
        """Takes the value at the right end of a list; the default if there is no list."""
    def llen(self, key: _Key, /) -> int:
        """The length of a list; 0 if there is none."""
    def expire(self, key: _Key, ttl: float | None, /) -> bool:
        """Sets the time to live of a key in seconds (None or 0: no expiry); returns whether the key exists."""
    def ttl(self, key: _Key, /) -> float | None:
        """The time to live of a key in seconds: infinity if it never expires, None if it does not exist."""
    def keys(self, limit: int | None = 1024) -> list[str]:
        """The keys, at most `limit` (None: all)."""
    def flush_all(self) -> int:
        """Removes everything; gives how many entries there were."""
    def flush_expired(self, limit: int | None = None) -> int:
        """Removes expired entries, at most `limit` (None: all); gives how many."""
    @property
    def capacity(self) -> int:
        """The bytes it was made with."""
    @property
    def free_space(self) -> int:
        """Free bytes."""
    @property
    def evictions(self) -> int:
        """Entries evicted because of lack of memory since it was created."""
    @property
    def repairs(self) -> int:
        """How often it was repaired, after a process died within an operation, since it was made."""
    def _acquire(self, name: _Key, holder: int, ttl: float | None = None, /) -> bool:
        """Acquires the lock `name` for a holder of this process, for at most `ttl` seconds; says whether it did."""
    def _release(self, name: _Key, holder: int, /) -> bool:
        """Releases the lock `name`; false if that holder had lost it."""
    def _fileno(self) -> int:
        """The descriptor, to be passed on to another process; it stays this object's."""
    def __contains__(self, key: object, /) -> bool: ...
    def __len__(self) -> int: ...

def create_dictionary(bytes: int, /) -> int:
    """Makes an empty shared dictionary and gives its descriptor, which children inherit."""

def create_zone(slots: int, cells: int, /) -> int:
    """Makes shared memory for counters and gives its descriptor, which children inherit."""

def retire_slot(fd: int, slot: int, into: int, /) -> None:
    """Moves the counters of a dead worker's slot into the slot `into`, which no worker has."""

def named_counters() -> list[str]:
    """The names of a zone's counters, in the order of their cells."""

@final
class Metrics:
    """All metrics of this process: in the memory behind a descriptor, or in memory of its own."""

    def __new__(cls, fd: int | None = None, /) -> Self: ...
    @staticmethod
    def memory() -> int:
        """Makes such memory, and gives its descriptor."""
    def fileno(self) -> int:
        """The descriptor, for an `Exporter`."""
    def series(
        self,
        kind: str,
        name: str,
        help: str,
        labels: Sequence[str],
        values: Sequence[str],
        *,
        bounds: Sequence[float] = ...,
        merge: str = "sum",
        most: int = 1000,
    ) -> Metric:
        """The series with these values of its labels; ValueError if the name has another meaning already."""

@final
class Metric:
    """One series of a metric."""

    def add(self, by: float, /) -> None:
        """Adds to a counter or a gauge."""
    def set(self, to: float, /) -> None:
        """Sets a gauge."""
    def observe(self, value: float, /) -> None:
        """Counts a value in a histogram."""
    @property
    def value(self) -> float:
        """The number in this process: a counter's or gauge's value, a histogram's sum."""

@final
class Exporter:
    """Sums up what the processes of a gateway count, and serves it."""

    def __new__(cls, zone_fd: int, /) -> Self: ...
    def add(self, number: int, fd: int, /) -> None:
        """Adds the memory of a process, by a number of the caller's; the descriptor stays the caller's."""
    def retire(self, number: int, /) -> None:
        """The process of that number is gone: what it has counted stays."""
    def serve(self, fds: Sequence[int], /) -> None:
        """Serves on listening sockets, which it takes over, in place of those before; with none on no more."""
    def push(self, to: str, /, *, interval: float, prefix: str, tags: bool) -> None:
        """Pushes what is counted from now on to a `StatsD` server (`host:port`) every `interval` seconds, in place of
        one before.
        """
    def pause_pushing(self) -> None:
        """Pushes once more, and then nothing until `push`, which goes on from there."""
    def end_pushing(self) -> None:
        """Pushes once more, and then nothing."""
    def set_ready(self, is_ready: bool, /) -> None:
        """What `/readyz` says from now on."""
    def beat(self, *, is_blocked: bool) -> None:
        """The supervisor runs; `is_blocked` if none of its workers responds."""
    def text(self, format: str = "prometheus", /) -> str:
        """All numbers as text: `prometheus` or `openmetrics`."""
    def json(self) -> str:
        """All numbers as JSON."""
    def hand_over(self) -> tuple[list[int], int, int | None]:
        """For a successor: descriptors of the memory of all who may still count, of that of sums of those who are gone,
        and of what was pushed last.
        """
    def inherit(
        self,
        zones: Sequence[tuple[int, Sequence[str]]],
        memories: Sequence[int],
        retired: int | None,
        pushed: int | None,
        /,
    ) -> None:
        """Takes over what a predecessor has handed over; the descriptors stay the caller's."""

def zone_stats(fd: int, /) -> dict[str, int]:
    """The named counters, summed over all slots."""

def set_server_state(
    fd: int,
    upstream: str,
    server: str,
    /,
    *,
    check: Literal["unknown", "up", "down"] | None = None,
    admin: Literal["ready", "drain", "maintenance"] | None = None,
    weight: int | None = None,
) -> None:
    """Says something of a server in the zone behind `fd`: what active checks found, what an operator wants, and the
    part of its share that it takes, in percent.

    All workers act on it from their next choice on, also after a reload. What is None stays as it is.
    """

def server_states(fd: int, /) -> list[dict[str, Any]]:
    """The servers of which something is said that is not as by default: tables of `upstream`, `server`, `check`,
    `admin`, `weight` and `ejected_ms`."""

def tls_module() -> tuple[str, bool]:
    """The name of the cryptographic module that does TLS, and whether it is the FIPS one."""

def require_fips() -> None:
    """Raises ValueError unless the cryptographic module is the FIPS one."""

def ensure_local_authority(folder: str, /) -> bool:
    """Makes the certificate authority for development unless the directory has one; True if it was made.

    ValueError if it could not be.
    """

def check(snapshot: str, /) -> None:
    """Builds the tables of a snapshot and discards them; ValueError says what is wrong with it."""

def explain_route(
    snapshot: str, method: str, host: str, path: str, query: str, headers: Sequence[tuple[str, str]], /
) -> tuple[str | None, list[tuple[str, str, str]]]:
    """The path as routes see it (None: 400), and route names with a verdict (`takes`, `later`, `host`, `path`,
    `header`, `query`, `method`, `function`) and what it is about, in the order of choice.

    Names of header fields are in lower case.

    ValueError says what is wrong with the snapshot.
    """

@final
class HtmlRules:
    """What becomes of which elements of pages; checked once, and used for any number of pages."""

    def __new__(cls, rules: Iterable[dict[str, Any]], /) -> Self:
        """Rules with `select` (a CSS selector), and what becomes of the elements, in this order:

        `once`: only the first is changed; `set`: attributes and their values; `replace`: tuples of an attribute, a text
        in its value and what stands in its place; `remove_attributes`, `add_classes`, `remove_classes`: names; `text`
        or `html` instead of the content; `prepend`, `append`, `before`, `after`: HTML; `unwrap`: the content stays;
        `remove`. Raises `ValueError` with a hint.
        """
    def rewriter(
        self, *, charset: str | None = None, max_memory_bytes: int = 1_048_576, passes: bool = False
    ) -> HtmlRewriter | None:
        """For one page, whose Content-Type says this charset; None if there is no ASCII in it, or it is unknown.

        `max_memory_bytes` is about the most for tags that are not complete with open elements, as much again for what
        waits for end tags, and for what one chunk becomes. `passes`: the rest of a page that cannot be changed goes on
        as it is; else that is an error.
        """

@final
class HtmlRewriter:
    """Changes one page as its chunks come; the result does not depend on how they are cut. Usable in any thread."""

    @property
    def failure(self) -> str | None:
        """Why the page is not changed from some place on; None while it is."""
    def write(self, chunk: bytes, /) -> bytes:
        """What is ready after a chunk: all but an unfinished tag; the chunk itself if nothing was changed.

        Raises `ValueError` for a page that cannot be changed, unless that passes.
        """
    def end(self) -> bytes:
        """What is left at the end of the page; raises as `write`."""

@final
class TargetMask:
    """Masks secrets of targets and URLs: values by the names of their parameters, users, and segments of paths."""

    def __new__(cls, names: Sequence[str], paths: Sequence[str], /, *, looks: bool = False) -> Self:
        """Paths have their secrets in braces, `/reset/{token}`, or end in `/*`; names have no case. With `looks`,
        segments that are addresses of mail or JWT are masked in all paths.
        """
    def url(self, text: str, /) -> str:
        """A target or a URL with its secrets masked, in any spelling; ValueError for lone surrogates."""
    def query(self, text: str, /) -> str:
        """A query, or the body of a form, with its secrets masked."""
    def has_name(self, name: str, /) -> bool:
        """Whether secrets have this name, or one in it: `user[password]`."""

def read_yaml(text: str, /) -> Any:
    """The values of the one document in a text; ValueError if it is no YAML, or has anchors, tags or merge keys."""

_Fields = _HasItems | Iterable[tuple[str, str]]
_FetchBody = bytes | bytearray | memoryview | str | AsyncIterable[bytes]

def fetch(
    url: str,
    /,
    *,
    method: str | None = None,
    headers: _Fields | None = None,
    body: _FetchBody | None = None,
    json: Any = None,
    timeout: float | None = None,
    redirects: int = 0,
    public_only: bool = False,
) -> Awaitable[FetchResponse]:
    """Sends a request and returns the response as soon as its head has arrived.

    The method is GET, or POST with a body. An async iterator as body is sent as it is made, chunked; the server may
    respond meanwhile. `timeout` (seconds) bounds each step: connecting, sending, the head, the next bytes of the body;
    it is up to 0.1 s late. Redirects are followed up to `redirects` times: 303, and 301 and 302 after POST, turn into
    GET; credentials (Authorization, Cookie) are not sent to another origin, and https is not downgraded to http.
    `public_only` refuses addresses outside the public internet, also after redirects. If cancelled, the connection is
    closed.
    """

def fetch_upstream(
    upstream: str,
    target: str,
    /,
    *,
    method: str | None = None,
    headers: _Fields | None = None,
    body: _FetchBody | None = None,
    json: Any = None,
    timeout: float | None = None,
    redirects: int = 0,
) -> Awaitable[FetchResponse]:
    """As `fetch`, from a server of the named upstream."""

@final
class FetchResponse:
    """A response whose head has arrived. Its body can be read once; dropping it early closes its connection."""

    @property
    def status(self) -> int:
        """The status."""
    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
    @property
    def reason(self) -> str:
        """The reason phrase."""
    @property
    def version(self) -> Literal["1.0", "1.1"]:
        """The protocol version the server speaks."""
    @property
    def url(self) -> str:
        """The final URL after redirects; for upstreams and the gateway's own routes, the target."""
    @property
    def redirected(self) -> int:
        """How many redirects were followed."""
    @property
    def headers(self) -> FetchHeaders:
        """The header fields."""
    def body(self, *, max_bytes: int | None = None) -> Awaitable[bytes]:
        """The whole body, at most `max_bytes` (`limits.max_fetch_body_bytes` without it)."""
    def text(self, *, max_bytes: int | None = None) -> Awaitable[str]:
        """The whole body as text, decoded with its charset (default UTF-8); invalid bytes are replaced."""
    def json(self, *, max_bytes: int | None = None) -> Awaitable[Any]:
        """The whole body, parsed."""
    def stream(self) -> FetchStream:
        """The body's chunks as they arrive; the server is not read faster than they are taken."""
    def close(self) -> None:
        """Closes the response; the rest of its body is not read."""
    def __aenter__(self) -> Awaitable[FetchResponse]: ...
    def __aexit__(self, *exception: object) -> Awaitable[None]: ...

@final
class FetchStream:
    """The pieces of a fetched body."""

    def __aiter__(self) -> FetchStream: ...
    def __anext__(self) -> Awaitable[bytes]: ...
    def aclose(self) -> Awaitable[None]:
        """Closes the response."""

@final
class FetchHeaders:
    """The header fields of a fetched response. Names are case-insensitive and listed in lower case."""

    @overload
    def get(self, name: str, default: None = None, /) -> str | None: ...
    @overload
    def get(self, name: str, default: _T, /) -> str | _T:
        """The first value of a field."""
    def get_all(self, name: str, /) -> list[str]:
        """All values of a field, in order."""
    def keys(self) -> list[str]:
        """The names in order, once for each field line."""
    def values(self) -> list[str]:
        """The values in order."""
    def items(self) -> list[tuple[str, str]]:
        """Names and values in order."""
    def __getitem__(self, name: str, /) -> str: ...
    def __contains__(self, name: object, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...

@final
class Upload:
    """The producer's end of a request body that is made while it is sent."""

    def send(self, piece: bytes, /) -> Awaitable[bool]:
        """Waits until the previous chunk was sent. False: the server takes no more."""
    def end(self) -> Awaitable[bool]:
        """Says that the body is complete."""
    def close(self) -> None:
        """Closes it; without `end` before, the request is aborted."""

@final
class Pending(Generic[_T_co]):
    """The engine's own work as an awaitable: an asyncio future, and a coroutine where asyncio wants one.

    It begins when it is awaited, or when a callback is added. Cancelled, its work ends and connections are closed.
    """

    _asyncio_future_blocking: bool
    def __class_getitem__(cls, item: Any) -> Any: ...
    def __await__(self) -> Generator[Any, None, _T_co]: ...
    def __iter__(self) -> Pending[_T_co]: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any, /) -> Any: ...
    def throw(self, kind: Any, value: Any = None, traceback: Any = None, /) -> Any: ...
    def close(self) -> None: ...
    def cancel(self, msg: object = None) -> bool: ...
    def cancelled(self) -> bool: ...
    def done(self) -> bool: ...
    def result(self) -> _T_co: ...
    def exception(self) -> BaseException | None: ...
    def _make_cancelled_error(self) -> BaseException: ...
    def get_loop(self) -> asyncio.AbstractEventLoop: ...
    def add_done_callback(
        self, function: Callable[[Pending[_T_co]], object], /, *, context: Any = None
    ) -> None: ...
    def remove_done_callback(self, function: Callable[[Pending[_T_co]], object], /) -> int: ...

@final
class RedisLink:
    """The engine's side of `headgate.Redis`."""

    def __new__(
        cls,
        url: str,
        timeout: float,
        decodes: bool,
        ca: str | None = None,
        certificate: tuple[str, str] | None = None,
        insecure: bool = False,
    ) -> RedisLink: ...
    def call(
        self, shape: Literal["plain", "bool", "map", "set"], is_repeatable: bool, /, *arguments: _RedisValue
    ) -> Awaitable[Any]:
        """Runs a command and makes its reply into the shape."""
    def eval(
        self, script: str, keys: Iterable[_RedisValue], arguments: Iterable[_RedisValue], /
    ) -> Awaitable[Any]:
        """Runs a Lua script on the server."""

_RedisValue = str | bytes | int | float

@final
class RawStream:
    """Bytes both ways between an upgraded client and Python code: the body of a response with status 101."""

    def __new__(cls) -> RawStream: ...
    def read(self) -> Awaitable[bytes]:
        """The next bytes from the client; none at its end."""
    def write(self, data: bytes, /) -> Awaitable[bool]:
        """Sends bytes, as the client takes them. False: it has disconnected."""
    def close(self) -> None:
        """Ends both directions; what was written still goes out."""

def asgi_fields(request: Request, /) -> list[tuple[bytes, bytes]]:
    """Names in lower case and values, in order; Host first, and the length and upgrade that the engine keeps."""
