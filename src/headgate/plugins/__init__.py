"""The plugins that come with the gateway, one file each; they use only what every plugin may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cors import Cors
    from .key_auth import KeyAuth
    from .rate_limit import RateLimit

__all__ = ["Cors", "KeyAuth", "RateLimit"]

BUILT_IN = {
    "cors": "headgate.plugins.cors:Cors",
    "key-auth": "headgate.plugins.key_auth:KeyAuth",
    "rate-limit": "headgate.plugins.rate_limit:RateLimit",
}
"""Short names, as `plugin: key-auth` in a file, and what they name."""

_MODULES = {
    reference.rpartition(":")[2]: reference.partition(":")[0].rpartition(".")[2]
    for reference in BUILT_IN.values()
}


def __getattr__(name: str) -> Any:
    """Loads what is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module `headgate.plugins` has no attribute `{name}`")
    import importlib

    return getattr(importlib.import_module(f"headgate.plugins.{_MODULES[name]}"), name)
