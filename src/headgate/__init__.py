"""headgate: a gateway that you program in Python.

Users write against the names below; `headgate.phases` is the table of the phases hooks run in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._first_import import watch_first_import

if TYPE_CHECKING:
    from headgate._core import (
        Attempt,
        Certificate,
        Connection,
        FailedAttempt,
        Failure,
        FetchHeaders,
        FetchResponse,
        Headers,
        HtmlRewriter,
        HtmlRules,
        Request,
        ResponseView,
        ServerView,
        TargetMask,
        UpstreamView,
        WebSocket,
        WebSocketMessage,
        fetch,
    )

    from ._decorators import body_mode
    from .background.errors import Overloaded
    from .background.job_process import JobFailed
    from .background.locks import Lock
    from .background.timers import Timer
    from .client import (
        FetchClosed,
        FetchConnectError,
        FetchError,
        FetchProtocolError,
        FetchRedirectError,
        FetchRefused,
        FetchTimeout,
        FetchTooLarge,
    )
    from .compile.loading import load
    from .config import ConfigError
    from .config.expressions import Expression
    from .config.regex import Pattern
    from .config.tls import Tls
    from .gateway import Gateway
    from .listener import Listener, StreamListener
    from .message import Response
    from .metrics import Counter, Gauge, Histogram, Metrics
    from .plugin import Plugin
    from .plugin_context import PluginContext
    from .query_params import QueryParams
    from .redis import Redis, RedisConnectionError, RedisError, RedisTimeout
    from .route import Route, Upstream
    from .server_state import ServerStateChange
    from .shared import Shared

watch_first_import()

__version__ = "0.1.0"

__all__ = [
    "Attempt",
    "Certificate",
    "ConfigError",
    "Connection",
    "Counter",
    "Expression",
    "FailedAttempt",
    "Failure",
    "FetchClosed",
    "FetchConnectError",
    "FetchError",
    "FetchHeaders",
    "FetchProtocolError",
    "FetchRedirectError",
    "FetchRefused",
    "FetchResponse",
    "FetchTimeout",
    "FetchTooLarge",
    "Gateway",
    "Gauge",
    "Headers",
    "Histogram",
    "HtmlRewriter",
    "HtmlRules",
    "JobFailed",
    "Listener",
    "Lock",
    "Metrics",
    "Overloaded",
    "Pattern",
    "Plugin",
    "PluginContext",
    "QueryParams",
    "Redis",
    "RedisConnectionError",
    "RedisError",
    "RedisTimeout",
    "Request",
    "Response",
    "ResponseView",
    "Route",
    "ServerStateChange",
    "ServerView",
    "Shared",
    "StreamListener",
    "TargetMask",
    "Timer",
    "Tls",
    "Upstream",
    "UpstreamView",
    "WebSocket",
    "WebSocketMessage",
    "__version__",
    "body_mode",
    "fetch",
    "load",
]

_MODULES = {
    "Attempt": "_core",
    "FailedAttempt": "_core",
    "Certificate": "_core",
    "ConfigError": "config.errors",
    "Connection": "_core",
    "Expression": "config.expressions",
    "Failure": "_core",
    "FetchClosed": "client",
    "FetchConnectError": "client",
    "FetchError": "client",
    "FetchHeaders": "_core",
    "FetchProtocolError": "client",
    "FetchRedirectError": "client",
    "FetchRefused": "client",
    "FetchResponse": "_core",
    "FetchTimeout": "client",
    "FetchTooLarge": "client",
    "Gateway": "gateway",
    "Headers": "_core",
    "HtmlRewriter": "_core",
    "HtmlRules": "_core",
    "Counter": "metrics",
    "Gauge": "metrics",
    "Histogram": "metrics",
    "Metrics": "metrics",
    "JobFailed": "background.job_process",
    "Lock": "background.locks",
    "Shared": "shared",
    "TargetMask": "_core",
    "Timer": "background.timers",
    "Overloaded": "background.errors",
    "Listener": "listener",
    "Pattern": "config.regex",
    "Plugin": "plugin",
    "PluginContext": "plugin_context",
    "QueryParams": "query_params",
    "Redis": "redis",
    "RedisConnectionError": "redis",
    "RedisError": "redis",
    "RedisTimeout": "redis",
    "Request": "_core",
    "Response": "message",
    "ResponseView": "_core",
    "Route": "route",
    "ServerStateChange": "server_state",
    "ServerView": "_core",
    "StreamListener": "listener",
    "Tls": "config.tls",
    "Upstream": "route",
    "fetch": "_core",
    "UpstreamView": "_core",
    "WebSocket": "_core",
    "WebSocketMessage": "_core",
    "body_mode": "_decorators",
    "load": "compile.loading",
}


def __getattr__(name: str) -> Any:
    """Loads what is asked for, and no more: `headgate proxy` starts without the model, a check without the
    engine."""
    if name not in _MODULES:
        raise AttributeError(f"module `headgate` has no attribute `{name}`")
    import importlib

    found = getattr(importlib.import_module(f"headgate.{_MODULES[name]}"), name)
    globals()[name] = found
    return found
