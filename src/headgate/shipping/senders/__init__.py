"""How lines are sent: one class for each kind of target."""

from __future__ import annotations

from typing import Protocol

from headgate.shipping.target import Target


class Unavailable(Exception):
    """The target takes nothing now; the same lines may be sent again, after `after_s` seconds if it says so."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Refused(Exception):
    """The target will never take these lines."""


class TooLarge(Exception):
    """The target may take fewer lines at a time."""


class Sender(Protocol):
    """Sends to one target. Raises the above, or `OSError` as `Unavailable`."""

    async def send(self, lines: list[bytes]) -> int:
        """Sends lines, none of which has a line end; gives how many of the first are through, at least one."""

    def close(self) -> None:
        """Closes what is open."""


def made_sender(target: Target) -> Sender:
    """The sender for a target. Raises `OSError` or `ValueError` where its files cannot be read."""
    from headgate.shipping.senders import datagrams, http, stream
    from headgate.shipping.senders.syslog import Syslog

    if target.kind == "kafka":
        from headgate.shipping.senders.kafka import KafkaSender

        return KafkaSender(target)
    if target.transport in ("http", "https"):
        return http.HttpSender(target)
    frame = Syslog(counts_octets=target.transport in ("tcp", "tls")) if target.kind == "syslog" else None
    if target.transport in ("tcp", "tls"):
        return stream.StreamSender(target, frame)
    return datagrams.DatagramSender(target, frame)
