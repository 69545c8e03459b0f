"""How much and how long: every bound and every wait has a name and a safe default here, and only here."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from pydantic import Field

from .settings import OneOrMany, Settings
from .units import MAX_COUNT, Duration, Size

ClientLeniency = Literal[
    "version_digits",
    "chunk_extensions",
    "control_characters",
    "non_ascii_targets",
    "overlong_utf8",
    "fragments",
]
"""A grammar rule that requests may be allowed to break."""

ServerLeniency = Literal[
    "bare_lf", "folded_lines", "duplicate_content_length", "control_characters", "chunk_extensions"
]
"""A grammar rule that responses may be allowed to break."""

UnderscoreHeaders = Literal["keep", "drop", "refuse"]
"""What becomes of fields with `_` in their names, which CGI and WSGI cannot tell from `-`."""


class LimitsConfig(Settings):
    """Limits on what clients may send and hold."""

    max_head_bytes: Size = Field(
        default=32768,
        ge=256,
        le=1 << 24,
        description="Bytes of a request or response head; more give 431 or 502.",
    )
    max_header_fields: int = Field(
        default=100, ge=1, le=10000, description="Header fields in one head; more give 431 or 502."
    )
    max_body_bytes: Size = Field(
        default=1 << 30, description="Bytes of a request body; more give 413; 0 means no limit."
    )
    max_connections: int = Field(
        default=16384, ge=1, le=MAX_COUNT, description="Client connections per worker."
    )
    max_connections_per_client: int = Field(
        default=0,
        ge=0,
        le=MAX_COUNT,
        description="Connections from one client address per worker; 0 means no limit.",
    )
    max_requests_per_connection: int = Field(
        default=0,
        ge=0,
        le=MAX_COUNT,
        description="Requests on one connection before it is closed; 0 means no limit.",
    )
    max_tls_handshakes: int = Field(
        default=1024,
        ge=1,
        le=MAX_COUNT,
        description="Concurrent TLS handshakes per worker; further connections are closed.",
    )
    max_chunk_extension_bytes: Size = Field(
        default=4096, description="Bytes of chunk extensions in one body."
    )
    max_trailer_bytes: Size = Field(default=8192, description="Bytes of trailer fields after a chunked body.")
    max_fetches: int = Field(
        default=1024,
        ge=1,
        le=MAX_COUNT,
        description="Concurrent fetches per worker, including unread responses; more raise `FetchRefused`.",
    )
    max_fetch_body_bytes: Size = Field(
        default=16 << 20,
        description=(
            "Bytes of a fetched body that is read as a whole; more raise `FetchTooLarge`; 0 means no limit."
        ),
    )
    max_client_hello_bytes: Size = Field(
        default=16384, ge=512, le=32768, description="Bytes of a ClientHello."
    )
    max_proxy_header_bytes: Size = Field(
        default=4096,
        ge=256,
        le=32768,
        description="Bytes of a PROXY header; the connection is closed if it is larger.",
    )
    max_buffered_body_bytes: Size = Field(
        default=16 << 20,
        ge=1,
        description="Bytes of a body that is buffered for a hook; more give 413 or 502.",
    )
    buffered_memory_bytes: Size = Field(
        default=256 << 10,
        description="Bytes of a buffered body that are kept in memory; a larger one uses a temporary file.",
    )
    max_hook_chunk_bytes: Size = Field(
        default=64 << 20,
        ge=1,
        description="Bytes that a body hook may return for one chunk; with more, the hook fails.",
    )
    max_draining_generations: int = Field(
        default=16,
        ge=1,
        le=MAX_COUNT,
        description=(
            "Versions of the code that go on beside the current one for the connections they have, each in processes "
            "of its own; with more, the oldest is stopped before its `timeouts.drain` is over."
        ),
    )
    lenient: Annotated[tuple[ClientLeniency, ...], OneOrMany()] = Field(
        default=(),
        description="Rules of the grammar (RFC 9112, 3986) that requests may violate; other violations get 400.",
    )
    underscore_headers: UnderscoreHeaders = Field(
        default="keep",
        description="Clients' fields with `_` in their names: `keep`, `drop`, or `refuse` with 400. Those that look "
        "like a forwarding or identity field are always dropped.",
    )
    allow_half_close: bool = Field(
        default=False,
        description="Whether clients that half-close before the response get it; if not, they count as disconnected.",
    )


class TimeoutsConfig(Settings):
    """The time limits of everything that the gateway waits for."""

    proxy_header: Duration = Field(
        default=5.0,
        description="For the PROXY header of a connection; then it is closed.",
    )
    tls_handshake: Duration = Field(
        default=10.0, description="For a complete TLS handshake, with a client or a server."
    )
    client_head: Duration = Field(
        default=15.0, description="For a complete request head, from its first byte; then 408."
    )
    client_body: Duration = Field(default=60.0, description="For the next bytes of a request body; then 408.")
    client_idle: Duration = Field(
        default=75.0, description="For the next request on an idle connection; then it is closed."
    )
    send: Duration = Field(
        default=60.0,
        description="For progress in sending to a peer; any progress restarts it.",
    )
    queue: Duration = Field(
        default=5.0,
        description="For an available server, while all are at their `max_connections`; then 503.",
    )
    connect: Duration = Field(
        default=5.0, description="For a connection to a server; then the next server is tried, or 504."
    )
    upstream_head: Duration = Field(default=60.0, description="For a response head; then 504.")
    upstream_idle: Duration = Field(default=60.0, description="For the next bytes of a response body.")
    fetch: Duration = Field(
        default=30.0,
        description="For each step of a fetch: sending, the response head, the next bytes of its body.",
    )
    drain: Duration = Field(
        default=30.0, description="For requests in flight when a worker stops gracefully."
    )


class UpstreamTimeoutsConfig(Settings):
    """Time limits for the servers of an upstream; the default is the gateway's `timeouts`."""

    queue: Duration | None = Field(
        default=None, description="For an available server, while all are at their `max_connections`."
    )
    connect: Duration | None = Field(default=None, description="For a connection to a server.")
    upstream_head: Duration | None = Field(default=None, description="For a response head.")
    upstream_idle: Duration | None = Field(default=None, description="For the next bytes of a response body.")


class RouteTimeoutsConfig(UpstreamTimeoutsConfig):
    """Time limits on a route; the default is that of its upstream, then the gateway's."""

    client_body: Duration | None = Field(default=None, description="For the next bytes of a request body.")
    send: Duration | None = Field(default=None, description="For progress in sending to a peer.")


class LimitsOptions(TypedDict, total=False):
    """The keywords of `Gateway.limits`; see `LimitsConfig`."""

    max_head_bytes: int | str
    max_header_fields: int
    max_body_bytes: int | str
    max_connections: int
    max_proxy_header_bytes: int | str
    max_client_hello_bytes: int | str
    max_connections_per_client: int
    max_requests_per_connection: int
    max_tls_handshakes: int
    max_chunk_extension_bytes: int | str
    max_trailer_bytes: int | str
    max_fetches: int
    max_fetch_body_bytes: int | str
    max_buffered_body_bytes: int | str
    buffered_memory_bytes: int | str
    max_hook_chunk_bytes: int | str
    max_draining_generations: int
    lenient: ClientLeniency | Sequence[ClientLeniency]
    underscore_headers: UnderscoreHeaders
    allow_half_close: bool


class TimeoutsOptions(TypedDict, total=False):
    """The keywords of `Gateway.timeouts`; see `TimeoutsConfig`."""

    proxy_header: float | str
    tls_handshake: float | str
    client_head: float | str
    client_body: float | str
    client_idle: float | str
    send: float | str
    queue: float | str
    connect: float | str
    upstream_head: float | str
    upstream_idle: float | str
    fetch: float | str
    drain: float | str
