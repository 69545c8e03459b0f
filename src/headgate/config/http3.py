"""HTTP/3 with clients: how much one connection may ask for. Whether it is spoken, each listener says."""

from __future__ import annotations

from typing import Literal, Self, TypedDict

from pydantic import Field, model_validator

from .errors import ConfigError
from .settings import Settings
from .units import MAX_COUNT, Duration, Share, Size

_OF_QLOG = {"qlog_share", "qlog_max_files", "qlog_max_bytes"}


class Http3Config(Settings):
    """HTTP/3 with clients (RFC 9114), for all listeners with `http3`."""

    max_concurrent_streams: int = Field(
        default=128, ge=1, le=10000, description="Concurrent requests per connection."
    )
    max_resets: int = Field(
        default=500,
        ge=1,
        le=MAX_COUNT,
        description="Requests that a connection may give up in 10 s; with more, it is closed.",
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
    idle: Duration = Field(
        default=30.0,
        ge=1.0,
        description="How long a client may give no sign of life; then its connection counts as dead.",
    )
    congestion: Literal["cubic", "bbr"] = Field(
        default="cubic",
        description="What decides how fast a connection sends: `cubic` (RFC 9438), or `bbr` for paths that lose much.",
    )
    websocket: bool = Field(
        default=True, description="Allows WebSockets over HTTP/3 (extended CONNECT, RFC 9220)."
    )
    alt_svc_max_age: Duration | None = Field(
        default=3600.0,
        description=(
            "How long clients may remember that HTTP/3 is spoken (the field `Alt-Svc`); null: they are not told."
        ),
    )
    qlog: str | None = Field(
        default=None,
        min_length=1,
        description=(
            "A folder into which the packets and losses of connections are written as they happen (qlog, one file "
            "each), for tools such as qvis; null: none."
        ),
    )
    qlog_share: Share = Field(
        default=1.0, description="The share of connections of which that is written, drawn by chance."
    )
    qlog_max_files: int = Field(
        default=100,
        ge=1,
        le=100_000,
        description="Files in the folder of `qlog`; then the oldest are deleted.",
    )
    qlog_max_bytes: Size = Field(
        default=10 << 20,
        ge=1024,
        description="The size of one of these files; what happens later is left out.",
    )

    @model_validator(mode="after")
    def _has_a_folder(self) -> Self:
        given = sorted(_OF_QLOG & self.model_fields_set)
        if given and "qlog" not in self.model_fields_set:
            raise ConfigError(f"`{given[0]}` has no effect without `qlog`", hint="set `qlog` to a folder")
        return self


class Http3Options(TypedDict, total=False):
    """The keywords of `Gateway.http3`; see `Http3Config`."""

    max_concurrent_streams: int
    max_resets: int
    window_bytes: int | str
    max_age: float | str
    idle: float | str
    congestion: Literal["cubic", "bbr"]
    websocket: bool
    alt_svc_max_age: float | str | None
    qlog: str | None
    qlog_share: float | str
    qlog_max_files: int
    qlog_max_bytes: int | str
