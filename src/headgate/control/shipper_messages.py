"""What the supervisor tells its shipper. Descriptors travel beside a message.

| message      | when                                                                          |
|--------------|-------------------------------------------------------------------------------|
| ShipperStart | first; with the socket that workers write requests into, and memory for metrics |
| Ship         | then, and after each change: with what is to be sent where in a memfd          |
"""

from headgate.control.records import Message, MessageKinds


class ShipperStart(Message):
    """As whom to work, and how to log."""

    user: str | None = None
    group: str | None = None
    log_format: str | None = None
    """None: as the configuration says; likewise `log_level`."""
    log_level: str | None = None


class Ship(Message):
    """What is to be sent where comes along in a memfd: see `headgate.config.log_targets`."""


TO_SHIPPER = MessageKinds([ShipperStart, Ship])
FROM_SHIPPER = MessageKinds([])
