"""What each signal means: nginx's table, so that operators and their tools feel at home.

| signal     | to the supervisor                                   | to a worker                        |
|------------|-----------------------------------------------------|------------------------------------|
| TERM, INT  | stop at once; a second one kills                    | TERM: stop at once; INT: ignored,  |
|            |                                                     | the supervisor decides             |
| QUIT       | stop when the requests in flight are done           | the same for itself                |
| HUP        | reload: new workers, then drain the old             | ignored                            |
| USR1       | reopen the log files                                | the same                           |
| USR2       | upgrade: a new supervisor takes over the listeners  | ignored                            |
"""

import enum
import os
import signal
from collections.abc import Container


class Intent(enum.Enum):
    """What the sender of a signal wants of the supervisor."""

    STOP_NOW = "stop-now"
    STOP = "stop"
    RELOAD = "reload"
    REOPEN_LOGS = "reopen-logs"
    UPGRADE = "upgrade"


INTENTS = {
    signal.SIGTERM: Intent.STOP_NOW,
    signal.SIGINT: Intent.STOP_NOW,
    signal.SIGQUIT: Intent.STOP,
    signal.SIGHUP: Intent.RELOAD,
    signal.SIGUSR1: Intent.REOPEN_LOGS,
    signal.SIGUSR2: Intent.UPGRADE,
}


SUPERVISORS = frozenset({signal.SIGINT, signal.SIGHUP, signal.SIGUSR2})
"""Those that a worker leaves to the supervisor, though the terminal sends them to every process."""


class SignalPipe:
    """Turns signals into bytes on a pipe, so that the reactor sees them between other events and never inside
    one. Those `ignored` do nothing."""

    def __init__(self, ignored: Container[int] = ()) -> None:
        self._ignored = ignored
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in INTENTS:
            signal.signal(number, _noted_by_the_pipe)

    def fileno(self) -> int:
        """The descriptor to watch."""
        return self._read

    def intents(self) -> list[Intent]:
        """The signals that came since the last call, in order."""
        try:
            numbers = os.read(self._read, 512)
        except BlockingIOError:
            return []
        return [INTENTS[signal.Signals(n)] for n in numbers if n in INTENTS and n not in self._ignored]


def _noted_by_the_pipe(number: int, frame: object) -> None:
    """Does nothing: set_wakeup_fd has already written the signal's number."""
