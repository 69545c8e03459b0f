"""Where a node keeps what must outlive its processes."""

import hashlib
import os
from pathlib import Path


def state_folder(given: str | None, file: Path) -> Path:
    """Where a node keeps what must outlive it: `given`, else a folder of the file's own below `$HEADGATE_STATE_DIR`,
    systemd's `$STATE_DIRECTORY`, /var/lib/headgate for root, or `$XDG_STATE_HOME/headgate`.
    """
    if given:
        return (file.parent / given).absolute()
    digest = hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:8]
    return states_folder() / f"{file.stem}-{digest}"


def states_folder() -> Path:
    """Where the state folders of all gateways of this user lie."""
    if folder := os.environ.get("HEADGATE_STATE_DIR"):
        return Path(folder)
    if systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/headgate")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "headgate"
