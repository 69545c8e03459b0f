"""Tells hooks of servers that are ejected as outliers, and of those that come back.

How it works: workers eject servers by themselves, each in shared memory, for a time. Every second this looks there for
what has changed, and has one worker run the `server_state` hooks. A shorter ejection may be missed; it is counted all
the same.
"""

from headgate.supervisor.state import State

INTERVAL_S = 1.0


class Ejections:
    """Looks after the servers of one supervisor."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._known: set[tuple[str, str]] = set()

    def begin(self) -> None:
        """Looks now, and again every second."""
        self._state.reactor.call_later(INTERVAL_S, self.begin)
        now = {
            (one.upstream, one.server)
            for one in self._state.zone.server_states()
            if one.ejected_ms and not one.is_circuit
        }
        ejected, recovered = sorted(now - self._known), sorted(self._known - now)
        self._known = now
        for upstream, server in ejected:
            self._state.tell_server_state(upstream, server, "ejected", "it is an outlier")
        for upstream, server in recovered:
            self._state.tell_server_state(upstream, server, "recovered")
