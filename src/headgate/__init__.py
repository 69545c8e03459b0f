"""headgate: the gateway you program in Python.

Users write against the names below; `headgate.phases` is the table of the phases hooks run in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .config import ConfigError, load
from .gateway import Gateway
from .message import Response
from .plugin import Plugin
from .route import Route, Upstream

if TYPE_CHECKING:
    from headgate._core import Attempt, Failure, Headers, Request, ResponseView

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

_OF_THE_ENGINE = ("Attempt", "Failure", "Headers", "Request", "ResponseView")


def __getattr__(name: str) -> Any:
    """Loads the engine only when one of its types is asked for: checking a configuration needs none."""
    if name in _OF_THE_ENGINE:
        from headgate import _core

        return getattr(_core, name)
    raise AttributeError(f"module `headgate` has no attribute `{name}`")
