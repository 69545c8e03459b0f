"""What happens when a worker ends: its slot is freed, and another one takes its place after the back-off."""

import logging
import time

from headgate.control.messages import Failed
from headgate.control.records import MessageError
from headgate.supervisor.backoff import exits_in_a_row, restart_delay_s
from headgate.supervisor.generations import Generations
from headgate.supervisor.state import EXIT_CONFIG, EXIT_FAILURE, State
from headgate.supervisor.workers import Generation, WorkerProcess, WorkerState

log = logging.getLogger("headgate.supervisor")


class Exits:
    """Takes note of workers that end."""

    def __init__(self, state: State, generations: Generations) -> None:
        self._state, self._generations = state, generations

    def collect(self, worker: WorkerProcess, generation: Generation) -> None:
        """Collects an ended worker and replaces it, or gives up the generation that it was to be of."""
        state = self._state
        self._read_last_messages(worker)
        state.reactor.unwatch(worker.process.pidfd)
        state.reactor.unwatch(worker.channel)
        status = worker.ended()
        if worker.zone_slot is not None:
            state.zone.clear(worker.zone_slot)
        state.metrics.left(worker, status)
        del state.workers[worker.pid]
        state.inspections.left(worker)
        state.profiles.left(worker)
        if generation.workers.get(worker.slot) is worker:
            del generation.workers[worker.slot]
        self._generations.left(worker)
        cause = worker.error or _cause(status)
        if generation is state.pending and worker.state is not WorkerState.STOPPING:
            code = EXIT_CONFIG if worker.is_config_error else EXIT_FAILURE
            self._generations.give_up(generation, cause, code)
        elif generation is state.current and not state.stopping:
            self._restart_later(worker, generation, cause)
        if not generation.workers and generation not in (state.pending, state.current):
            generation.zygote.close()

    def _read_last_messages(self, worker: WorkerProcess) -> None:
        """What it sent before it ended may still lie in the socket."""
        while True:
            try:
                message, _ = worker.channel.receive()
            except MessageError as error:
                worker.error = worker.error or str(error)
            except (OSError, ValueError):
                return
            else:
                if isinstance(message, Failed):
                    worker.failed(message)

    def _restart_later(self, worker: WorkerProcess, generation: Generation, cause: str) -> None:
        exits = exits_in_a_row(worker.exits, time.monotonic() - worker.started)
        delay_s = restart_delay_s(exits)
        log.error(
            "worker exited: %s",
            cause,
            extra={"worker": worker.pid, "exits": exits, "restart_in_s": round(delay_s, 2)},
        )

        def restart() -> None:
            if generation is self._state.current and not self._state.stopping:
                self._generations.start_worker(generation, worker.slot, exits)

        self._state.reactor.call_later(delay_s, restart)


def _cause(status: int | None) -> str:
    if status is None:
        return "with an unknown status"
    return f"killed by signal {-status}" if status < 0 else f"with status {status}"
