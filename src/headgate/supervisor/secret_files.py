"""Files with secrets: a changed one is taken up by a reload, once it has not changed for a moment."""

import logging
import os
from collections.abc import Callable

from headgate.control.reactor import Reactor
from headgate.control.resource_messages import SecretFile, SecretFiles

STEP_S = 1.0

log = logging.getLogger("headgate.supervisor")


class SecretFileWatch:
    """Looks at files once a second, and calls `changed` when one is not what it was when it was read.

    Links are followed, so that a folder whose link is moved to another one counts as well. A file that is gone is
    waited for: the secret that was read stays.
    """

    def __init__(self, reactor: Reactor, changed: Callable[[], None]) -> None:
        self._reactor, self._changed = reactor, changed
        self._told: dict[str, dict[str, SecretFile]] = {}
        """What was read, by its path and by who has read it: workers, the agent. Each keeps what it has read."""
        self._seen: dict[str, SecretFile | None] = {}
        """What was seen of each when it was looked at last."""
        self._is_looking = False

    def told(self, by: str, message: SecretFiles) -> None:
        """Watches these in the place of those that `by` has told before."""
        self._told[by] = {one.path: one for one in message.files}
        paths = self._paths()
        self._seen = {path: one for path, one in self._seen.items() if path in paths}
        if paths and not self._is_looking:
            self._is_looking = True
            self._reactor.call_later(STEP_S, self._look)

    def _paths(self) -> set[str]:
        return set().union(*self._told.values())

    def _look(self) -> None:
        changed = [path for path in sorted(self._paths()) if self._has_changed(path)]
        if changed:
            log.info("a secret file has changed; reloading", extra={"file": changed[0]})
            for path in changed:
                if found := self._seen[path]:
                    for files in self._told.values():
                        if path in files:
                            files[path] = found
            self._changed()
        self._is_looking = bool(self._paths())
        if self._is_looking:
            self._reactor.call_later(STEP_S, self._look)

    def _has_changed(self, path: str) -> bool:
        """Whether somebody has read another one, and it is as a moment ago: what is written still is waited for."""
        known = [files[path] for files in self._told.values() if path in files]
        before, now = self._seen.get(path, known[0]), stamp(path)
        self._seen[path] = now
        if now is None:
            if before is not None:
                log.warning("a secret file is gone; its last secret stays in use", extra={"file": path})
            return False
        return now == before and any(one != now for one in known)


def stamp(path: str) -> SecretFile | None:
    """What tells a file from another one, or from itself after it was written; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return SecretFile(path=path, modified_ns=found.st_mtime_ns, inode=found.st_ino, bytes=found.st_size)
