"""What `server_state` hooks are given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerStateChange:
    """A server of an upstream has another state."""

    upstream: str
    """The upstream's name."""
    server: str
    """The server's address as configured, without `https://`."""
    state: str
    """`up` or `down` by health checks; `ready`, `drain` or `maintenance` by command; `added` or `removed` where it was
    found by name; `ejected` or `recovered` where it was an outlier."""
    reason: str
    """Why a check has failed, or the server was ejected; empty otherwise."""
