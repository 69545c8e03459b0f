"""What the supervisor and its monitor send each other. Descriptors travel beside a message.

| message       | from, to            | when                                                                |
|---------------|---------------------|---------------------------------------------------------------------|
| MonitorStart  | supervisor, monitor | first; with the zone, and memory for metrics                        |
| Watch         | supervisor, monitor | then, and after each change: with what is to be watched in a memfd  |
| ServerChanged | monitor, supervisor | a server's state is another one                                     |
"""

from headgate.control.records import Message, MessageKinds


class MonitorStart(Message):
    """As whom to work, and how to log."""

    user: str | None = None
    group: str | None = None
    log_format: str | None = None
    """None: as the configuration says; likewise `log_level`."""
    log_level: str | None = None


class Watch(Message):
    """What is to be watched comes along in a memfd: see `headgate.config.monitored`."""


class ServerChanged(Message):
    """A server is `up` or `down` now, by its checks."""

    upstream: str
    server: str
    state: str
    reason: str


TO_MONITOR = MessageKinds([MonitorStart, Watch])
FROM_MONITOR = MessageKinds([ServerChanged])
