"""Lines as messages of syslog (RFC 5424); over a stream with their lengths before them (RFC 6587 section 3.4.1)."""

from __future__ import annotations

import os
import re
import socket

from headgate.shipping.line import time_of

PRIORITY = 23 * 8 + 6
"""Facility local7, severity informational, as in `access_log`."""
LONGEST_HOST = 255


class Syslog:
    """Frames lines."""

    def __init__(self, *, counts_octets: bool) -> None:
        self._counts_octets = counts_octets
        host = re.sub(r"[^!-~]", "", socket.gethostname())[:LONGEST_HOST] or "-"
        self._begin, self._origin = (
            f"<{PRIORITY}>1 ".encode(),
            f" {host} headgate {os.getpid()} access - ".encode(),
        )

    def __call__(self, line: bytes) -> bytes:
        """One message."""
        message = self._begin + time_of(line) + self._origin + line
        return b"%d %b" % (len(message), message) if self._counts_octets else message
