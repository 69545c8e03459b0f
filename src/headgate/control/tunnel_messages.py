"""What the supervisor tells the tunnel broker. Descriptors travel beside a message.

| message     | when                                                                                  |
|-------------|---------------------------------------------------------------------------------------|
| TunnelStart | first; with memory for metrics                                                        |
| Serve       | then, and after each change: with who may expose what in a memfd                      |
| Renew       | when workers are being replaced: connections through them will end                    |
"""

from headgate.control.records import Message, MessageKinds


class TunnelStart(Message):
    """As whom to work, and how to log."""

    user: str | None = None
    group: str | None = None
    log_format: str | None = None
    """None: as the configuration says; likewise `log_level`."""
    log_level: str | None = None


class Serve(Message):
    """Who may expose what comes along in a memfd: see `headgate.config.tunnels`."""


class Renew(Message):
    """Clients of tunnels are to dial anew."""


TO_TUNNEL = MessageKinds([TunnelStart, Serve, Renew])
FROM_TUNNEL = MessageKinds([])
