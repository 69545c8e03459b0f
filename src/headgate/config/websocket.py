"""WebSockets whose messages hooks see: how large they may be, and how long they may be silent."""

from typing import TypedDict

from pydantic import Field

from .settings import Settings
from .units import Duration, Size


class WebSocketConfig(Settings):
    """WebSockets on routes with `websocket_message` hooks (RFC 6455). On other routes they are tunnels, limited only by
    `timeouts.upstream_idle`."""

    max_message_bytes: Size = Field(
        default=16 << 20,
        ge=1,
        le=1 << 30,
        description="Bytes of a message; with more, the sender is closed with 1009.",
    )
    max_frame_bytes: Size = Field(
        default=16 << 20,
        ge=125,
        le=1 << 30,
        description="Bytes of a frame; with more, the sender is closed with 1009.",
    )
    max_queued_bytes: Size = Field(
        default=1 << 20,
        description="Bytes of hooks' own messages that wait to be sent; more raise `Overloaded`.",
    )
    ping_interval: Duration | None = Field(
        default=20.0,
        description="How often an idle peer is pinged, and how long it may take to reply; null sends no pings.",
    )
    idle: Duration = Field(
        default=3600.0,
        description="Both sides are closed with 1001 if neither sends a message for this time.",
    )
    close_timeout: Duration = Field(
        default=5.0,
        description="How long a peer may take to reply to a close frame; then it is disconnected.",
    )


class WebSocketOptions(TypedDict, total=False):
    """The keywords of `Gateway.websocket`; see `WebSocketConfig`."""

    max_message_bytes: int | str
    max_frame_bytes: int | str
    max_queued_bytes: int | str
    ping_interval: float | str | None
    idle: float | str
    close_timeout: float | str
