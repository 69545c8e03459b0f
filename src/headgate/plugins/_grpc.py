"""Services that are asked over gRPC: what plugins that do so have in common."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator

from headgate import ConfigError, PluginContext

from ._services import Trouble

URL = re.compile(r"grpcs?://[^\s/?#@\\]+/?")


def checked_url(url: str) -> str:
    """A `grpc://` or `grpcs://` URL; raises `ConfigError` for another one, and where gRPC is not installed."""
    try:
        parts = urlsplit(url)
        is_whole = bool(URL.fullmatch(url) and parts.hostname and parts.port)
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ConfigError(f"`{url}` is not a valid URL", hint="write `grpc://10.0.0.9:9001`")
    try:
        import envoy.service.auth.v3  # noqa: F401
        import grpc.aio  # noqa: F401
    except ImportError:
        hint = "pip install 'headgate[grpc]'"
        raise ConfigError("the library for gRPC is not installed", hint=hint) from None
    return url


GrpcUrl = Annotated[str, AfterValidator(checked_url)]
"""Where a service is asked over gRPC."""


class GrpcService:
    """Asks a service over gRPC within a time limit; that it is away is logged once, and counted each time."""

    def __init__(self, context: PluginContext, url: str, *, timeout: float, max_bytes: int) -> None:
        parts = urlsplit(url)
        self._address = parts.netloc
        self._has_tls = parts.scheme == "grpcs"
        self.timeout = timeout
        self._options = [
            ("grpc.max_receive_message_length", max_bytes),
            ("grpc.max_metadata_size", 65536),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
            ("grpc.enable_http_proxy", 0),
        ]
        self._channel: Any = None
        self.away = Trouble(
            context, "service_failures", "the service is unavailable", "the service is available again"
        )

    @property
    def channel(self) -> Any:
        """The connection; made in the worker that uses it, at first use."""
        if self._channel is None:
            import grpc

            if self._has_tls:
                credentials = grpc.ssl_channel_credentials()
                self._channel = grpc.aio.secure_channel(self._address, credentials, self._options)
            else:
                self._channel = grpc.aio.insecure_channel(self._address, self._options)
        return self._channel

    async def ask(self, method: str, message: Any, kind: Any) -> Any:
        """The message of that kind that it replies with; `None` if it is away, too late, or replies with an error."""
        import grpc

        call = self.channel.unary_unary(
            method, request_serializer=type(message).SerializeToString, response_deserializer=kind.FromString
        )
        try:
            reply = await call(message, timeout=self.timeout)
        except grpc.RpcError as error:
            self.away.begin(f"{error.code().name}: {error.details()}"[:300])
            return None
        self.away.end()
        return reply

    async def close(self) -> None:
        """Closes the connection."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
