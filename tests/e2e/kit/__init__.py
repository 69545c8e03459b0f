"""The kit of the end-to-end tests: a scripted origin, a real gateway process, a raw client; real sockets."""

from .client import RawClient, RawResponse, TlsClient, fetch
from .gateway import HEADGATE, RunningGateway, Serve, run_cli
from .net import Address, eventually, free_port
from .origin import Call, Origin

__all__ = [
    "HEADGATE",
    "Address",
    "Call",
    "Origin",
    "RawClient",
    "RawResponse",
    "RunningGateway",
    "Serve",
    "TlsClient",
    "eventually",
    "fetch",
    "free_port",
    "run_cli",
]
