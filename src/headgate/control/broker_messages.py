"""What the supervisor tells a broker: the process of tunnels, or the dispatcher. Descriptors travel beside a message.

| message     | when                                                                                  |
|-------------|---------------------------------------------------------------------------------------|
| BrokerStart | first; with memory for metrics                                                        |
| Serve       | then, and after each change: with what is to be served in a memfd                     |
| Renew       | when workers are being replaced, or end: connections through them will end            |
"""

from headgate.control.records import Message, MessageKinds


class BrokerStart(Message):
    """As whom to work, and how to log."""

    user: str | None = None
    group: str | None = None
    log_format: str | None = None
    """None: as the configuration says; likewise `log_level`."""
    log_level: str | None = None
    file: str = ""
    """The gateway's, which tells it from others of the same user."""


class Serve(Message):
    """What is to be served comes along in a memfd: see `headgate.config.tunnels` and `headgate.config.pull`."""


class Renew(Message):
    """Those who have dialled in through workers are to dial anew."""

    is_last: bool = False
    """Whether the gateway ends, so that they cannot."""


TO_BROKER = MessageKinds([BrokerStart, Serve, Renew])
FROM_BROKER = MessageKinds([])
