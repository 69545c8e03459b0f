"""HTTP/2 with clients: whether it is spoken, and how much one connection may ask for."""

from typing import Any, ClassVar, Literal, TypedDict

from pydantic import Field

from .settings import Settings
from .units import MAX_COUNT, Duration, Size

H2c = Literal["detect", "only", "off"]
"""What plain listeners do about HTTP/2."""


class Http2Config(Settings):
    """HTTP/2 with clients (RFC 9113). Short form: `true` or `false`."""

    short_forms: ClassVar = ({"type": "boolean"},)

    enabled: bool = Field(
        default=True,
        description="Enables HTTP/2: with prior knowledge on plain listeners, by ALPN on TLS listeners.",
    )
    h2c: H2c = Field(
        default="detect",
        description="On plain listeners: `detect` HTTP/2 by the first bytes, accept `only` HTTP/2, or `off`.",
    )
    max_concurrent_streams: int = Field(
        default=128,
        ge=1,
        le=10000,
        description="Concurrent requests per connection; further streams are refused.",
    )
    max_resets: int = Field(
        default=500,
        ge=1,
        le=MAX_COUNT,
        description="Streams that a connection may open and reset in 10 s; with more, it is closed.",
    )
    max_control_frames: int = Field(
        default=1000,
        ge=100,
        le=MAX_COUNT,
        description=(
            "Control frames (pings, settings, priorities, empty data, window updates) per connection in "
            "10 s; each data frame, in either direction, allows four more. With more, it is closed."
        ),
    )
    window_bytes: Size = Field(
        default=1 << 18,
        ge=65535,
        le=1 << 24,
        description="The flow control window of a stream; a connection has 16 times as much.",
    )
    max_age: Duration = Field(
        default=3600.0,
        description="How long a connection accepts new requests; then it gets a GOAWAY.",
    )
    websocket: bool = Field(
        default=True, description="Allows WebSockets over HTTP/2 (extended CONNECT, RFC 8441)."
    )

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
