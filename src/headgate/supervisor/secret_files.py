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
        self._told: dict[str, set[str]] = {}
        """Paths, by who has read them: workers, the agent."""
        self._known: dict[str, SecretFile] = {}
        self._seen: dict[str, SecretFile | None] = {}
        """What was seen of each when it was looked at last."""
        self._is_looking = False

    def told(self, by: str, message: SecretFiles) -> None:
        """Watches these in the place of those that `by` has told before; who read a file last knows it best."""
        self._told[by] = {one.path for one in message.files}
        every = set().union(*self._told.values())
        self._known = {path: one for path, one in self._known.items() if path in every}
        self._known |= {one.path: one for one in message.files}
        self._seen = {path: one for path, one in self._seen.items() if path in self._known}
        if self._known and not self._is_looking:
            self._is_looking = True
            self._reactor.call_later(STEP_S, self._look)

    def _look(self) -> None:
        changed = [path for path in self._known if self._has_changed(path)]
        if changed:
            log.info("a secret file has changed; reloading", extra={"file": changed[0]})
            for path in changed:
                if found := self._seen[path]:
                    self._known[path] = found
            self._changed()
        self._is_looking = bool(self._known)
        if self._is_looking:
            self._reactor.call_later(STEP_S, self._look)

    def _has_changed(self, path: str) -> bool:
        """Whether it is not what was read, and the same as a moment ago: what is written still is waited for."""
        known, before, now = self._known[path], self._seen.get(path, self._known[path]), stamp(path)
        self._seen[path] = now
        if now is None:
            if before is not None:
                log.warning("a secret file is gone; its last secret stays in use", extra={"file": path})
            return False
        return now not in (known, None) and now == before


def stamp(path: str) -> SecretFile | None:
    """What tells a file from another one, or from itself after it was written; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return SecretFile(path=path, modified_ns=found.st_mtime_ns, inode=found.st_ino, bytes=found.st_size)
