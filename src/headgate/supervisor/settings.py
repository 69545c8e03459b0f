"""What the command line passes to the supervisor."""

import os
from typing import NamedTuple

from headgate.control.messages import Source

SHARED = "shared"
REUSEPORT = "reuseport"


class RunSettings(NamedTuple):
    """One gateway to run."""

    source: Source
    """What to serve, handed to the workers as it is."""
    workers: int | None = None
    """None: what the configuration says, else one for each CPU."""
    pid_file: str | None = None
    user: str | None = None
    group: str | None = None
    keep_net_admin: bool = False
    log_format: str | None = None
    """None: what the configuration says of the workers, text for the supervisor."""
    log_level: str | None = None
    accept_mode: str = REUSEPORT
    require_fips: bool = False
    """Whether workers end at once where the cryptographic module is not the FIPS one."""

    @property
    def is_plain(self) -> bool:
        """Whether what is served can hold no Python code."""
        return self.source.proxy is not None


def accept_mode() -> str:
    """How workers share the listeners: `HEADGATE_ACCEPT` is `reuseport` (the default) or `shared`."""
    mode = os.environ.get("HEADGATE_ACCEPT", REUSEPORT)
    if mode not in (REUSEPORT, SHARED):
        raise ValueError(f"HEADGATE_ACCEPT is `{mode}`\n  hint: `{REUSEPORT}` or `{SHARED}`")
    return mode
