"""HTTP/2 with clients: whether it is spoken, and how much one connection may ask for."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypedDict

from pydantic import Field

from .settings import Settings
from .units import Duration, Size

H2c = Literal["detect", "only", "off"]
"""What plain listeners do about HTTP/2."""


class Http2Config(Settings):
    """HTTP/2 with clients (RFC 9113); `true` or `false` is the short form."""

    short_forms: ClassVar = ({"type": "boolean"},)

    enabled: bool = Field(
        default=True,
        description="Speaks it: by prior knowledge on plain listeners, by ALPN on TLS ones.",
    )
    h2c: H2c = Field(
        default="detect",
        description="On plain listeners: `detect` it by its first bytes, speak `only` HTTP/2 there, or `off`.",
    )
    max_concurrent_streams: int = Field(
        default=128,
        ge=1,
        le=10000,
        description="Requests at once on one connection; more are refused one by one.",
    )
    max_resets: int = Field(
        default=500,
        ge=1,
        description="Streams that one connection may open and reset in 10 s; past it the connection ends.",
    )
    max_control_frames: int = Field(
        default=1000,
        ge=100,
        description=(
            "Frames that do no work (pings, settings, priorities, empty data, window updates) in 10 s; "
            "each frame with data, either way, earns four more. Past it the connection ends."
        ),
    )
    window_bytes: Size = Field(
        default=1 << 18,
        ge=65535,
        le=1 << 24,
        description="Bytes of a request body that a client may send ahead of its reader; 16 times as much in all.",
    )
    max_age: Duration = Field(
        default=3600.0,
        description="How long a connection takes new requests; then a GOAWAY asks for another one.",
    )
    websocket: bool = Field(default=True, description="Lets WebSockets in (extended CONNECT, RFC 8441).")

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"enabled": value} if isinstance(value, bool) else value


class Http2Options(TypedDict, total=False):
    """The keywords of `Gateway.http2`; see `Http2Config`."""

    enabled: bool
    h2c: H2c
    max_concurrent_streams: int
    max_resets: int
    max_control_frames: int
    window_bytes: int | str
    max_age: float | str
    websocket: bool
