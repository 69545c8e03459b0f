"""The plugins that come with the gateway, one file each; they use only what every plugin may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .circuit_breaker import CircuitBreaker
    from .concurrency_limit import ConcurrencyLimit
    from .cors import Cors
    from .fault_injection import FaultInjection
    from .key_auth import KeyAuth
    from .maintenance import Maintenance
    from .mirror import Mirror
    from .quota import Quota
    from .rate_limit import RateLimit
    from .request_size import RequestSize
    from .response_size import ResponseSize
    from .traffic_split import TrafficSplit

__all__ = [
    "CircuitBreaker",
    "ConcurrencyLimit",
    "Cors",
    "FaultInjection",
    "KeyAuth",
    "Maintenance",
    "Mirror",
    "Quota",
    "RateLimit",
    "RequestSize",
    "ResponseSize",
    "TrafficSplit",
]

BUILT_IN = {
    "circuit-breaker": "headgate.plugins.circuit_breaker:CircuitBreaker",
    "concurrency-limit": "headgate.plugins.concurrency_limit:ConcurrencyLimit",
    "cors": "headgate.plugins.cors:Cors",
    "fault-injection": "headgate.plugins.fault_injection:FaultInjection",
    "key-auth": "headgate.plugins.key_auth:KeyAuth",
    "maintenance": "headgate.plugins.maintenance:Maintenance",
    "mirror": "headgate.plugins.mirror:Mirror",
    "quota": "headgate.plugins.quota:Quota",
    "rate-limit": "headgate.plugins.rate_limit:RateLimit",
    "request-size": "headgate.plugins.request_size:RequestSize",
    "response-size": "headgate.plugins.response_size:ResponseSize",
    "traffic-split": "headgate.plugins.traffic_split:TrafficSplit",
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
