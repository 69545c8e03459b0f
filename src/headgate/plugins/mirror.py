"""Sends copies of requests to another server, whose responses are discarded."""

from __future__ import annotations

from ._copies import Copying


class Mirror(Copying):
    """Sends a copy of each request, or of a part of them, to another server after its own response was sent.

    A copy never delays or harms its request: it has its own time limit, its body a bound, and all copies of a worker
    together a bound, past which they are dropped and counted. It carries `X-Shadow: 1`, and is never copied again.
    """

    order = 410

    class Config(Copying.Config):
        """Settings of `mirror`."""
