"""How much and how long: every bound and every wait has a name and a safe default here, and only here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from pydantic import Field

from .settings import OneOrMany, Settings
from .units import Duration, Size

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
    """Bounds on what clients may send and hold."""

    max_head_bytes: Size = Field(
        default=32768,
        ge=256,
        le=1 << 24,
        description="Bytes of a request or response head; past it 431 or 502.",
    )
    max_header_fields: int = Field(
        default=100, ge=1, le=10000, description="Header fields in one head; past it 431 or 502."
    )
    max_body_bytes: Size = Field(
        default=1 << 30, description="Bytes of a request body, past it 413; 0 means no limit."
    )
    max_connections: int = Field(default=16384, ge=1, description="Client connections of one worker.")
    max_connections_per_client: int = Field(
        default=0, ge=0, description="Connections of one client address to one worker; 0 means no limit."
    )
    max_requests_per_connection: int = Field(
        default=0, ge=0, description="Requests on one connection before it is closed; 0 means no limit."
    )
    max_tls_handshakes: int = Field(
        default=1024,
        ge=1,
        description="TLS handshakes of one worker at one time; past it connections are closed.",
    )
    max_chunk_extension_bytes: Size = Field(
        default=4096, description="Bytes of chunk extensions in one body."
    )
    max_trailer_bytes: Size = Field(default=8192, description="Bytes of trailer fields after a chunked body.")
    max_fetches: int = Field(
        default=1024,
        ge=1,
        description="Fetches under way at once in one worker, unread responses included; past it `FetchRefused`.",
    )
    max_fetch_body_bytes: Size = Field(
        default=16 << 20,
        description="Bytes of a fetched body read whole; past it `FetchTooLarge`; 0 means no limit.",
    )
    max_client_hello_bytes: Size = Field(
        default=16384, ge=512, le=32768, description="Bytes of a TLS client's first message."
    )
    max_proxy_header_bytes: Size = Field(
        default=4096,
        ge=256,
        le=32768,
        description="Bytes of a PROXY header; past it the connection is closed.",
    )
    max_buffered_body_bytes: Size = Field(
        default=16 << 20, ge=1, description="Bytes of a body that a hook asks for whole; past it 413 or 502."
    )
    buffered_memory_bytes: Size = Field(
        default=256 << 10,
        description="Bytes of such a body held in memory; a longer one lies in a temporary file.",
    )
    max_hook_chunk_bytes: Size = Field(
        default=64 << 20,
        ge=1,
        description="Bytes that a hook may make of one chunk of a body; past it the hook has failed.",
    )
    lenient: Annotated[tuple[ClientLeniency, ...], OneOrMany()] = Field(
        default=(),
        description="Rules of the grammar (RFC 9112, 3986) that requests may break; all others get 400.",
    )
    underscore_headers: UnderscoreHeaders = Field(
        default="keep",
        description="Clients' fields with `_` in their names: `keep`, `drop`, or `refuse` with 400. Those that look "
        "like a forwarding or identity field are always dropped.",
    )
    allow_half_close: bool = Field(
        default=False,
        description="Whether a client that ends its side before the response still gets it; if not, it is a 499.",
    )


class TimeoutsConfig(Settings):
    """The longest the gateway waits, for each thing it waits for."""

    proxy_header: Duration = Field(
        default=5.0,
        description="For the PROXY header that begins a connection; past it the connection closes.",
    )
    tls_handshake: Duration = Field(
        default=10.0, description="For a whole TLS handshake, with a client or a server."
    )
    client_head: Duration = Field(
        default=15.0, description="For a whole request head, from its first byte; past it 408."
    )
    client_body: Duration = Field(
        default=60.0, description="For the next bytes of a request body; past it 408."
    )
    client_idle: Duration = Field(
        default=75.0, description="For the next request on a kept connection; past it the connection closes."
    )
    send: Duration = Field(
        default=60.0,
        description="For a peer to take some of the bytes that are ready to be sent; any progress restarts it.",
    )
    queue: Duration = Field(
        default=5.0, description="For a server while all are at their `max_connections`; past it 503."
    )
    connect: Duration = Field(
        default=5.0, description="For a connection to a server; past it the next server, or 504."
    )
    upstream_head: Duration = Field(default=60.0, description="For a server's response head; past it 504.")
    upstream_idle: Duration = Field(
        default=60.0, description="For the next bytes of a server's response body."
    )
    fetch: Duration = Field(
        default=30.0,
        description="For each step of a fetch: sending, the response head, the next bytes of its body.",
    )
    drain: Duration = Field(
        default=30.0, description="For requests in flight when a worker stops gracefully."
    )


class UpstreamTimeoutsConfig(Settings):
    """Waits for the servers of one upstream; what is not given is as in the gateway's `timeouts`."""

    queue: Duration | None = Field(
        default=None, description="For a server while all are at their `max_connections`."
    )
    connect: Duration | None = Field(default=None, description="For a connection to a server.")
    upstream_head: Duration | None = Field(default=None, description="For a server's response head.")
    upstream_idle: Duration | None = Field(
        default=None, description="For the next bytes of a server's response body."
    )


class RouteTimeoutsConfig(UpstreamTimeoutsConfig):
    """Waits on one route; what is not given is as in its upstream, then as in the gateway."""

    client_body: Duration | None = Field(default=None, description="For the next bytes of a request body.")
    send: Duration | None = Field(
        default=None, description="For a peer to take bytes that are ready to be sent."
    )


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
