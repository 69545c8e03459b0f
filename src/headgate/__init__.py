"""headgate: the gateway you program in Python.

Users write against the names below; `headgate.phases` is the table of the phases hooks run in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headgate._core import Attempt, Failure, Headers, Request, ResponseView

    from .config import ConfigError
    from .gateway import Gateway
    from .loading import load
    from .message import Response
    from .plugin import Plugin
    from .route import Route, Upstream

__version__ = "0.1.0"

__all__ = [
    "Attempt",
    "ConfigError",
    "Failure",
    "Gateway",
    "Headers",
    "Plugin",
    "Request",
    "Response",
    "ResponseView",
    "Route",
    "Upstream",
    "__version__",
    "load",
]

_ROOMS = {
    "Attempt": "_core",
    "ConfigError": "config.errors",
    "Failure": "_core",
    "Gateway": "gateway",
    "Headers": "_core",
    "Plugin": "plugin",
    "Request": "_core",
    "Response": "message",
    "ResponseView": "_core",
    "Route": "route",
    "Upstream": "route",
    "load": "loading",
}


def __getattr__(name: str) -> Any:
    """Loads what is asked for, and no more: `headgate proxy` starts without the model, a check without the
    engine."""
    if name not in _ROOMS:
        raise AttributeError(f"module `headgate` has no attribute `{name}`")
    import importlib

    found = getattr(importlib.import_module(f"headgate.{_ROOMS[name]}"), name)
    globals()[name] = found
    return found
