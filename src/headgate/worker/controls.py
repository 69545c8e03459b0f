"""What a worker says to the supervisor, and does when told to, whatever loop it runs on."""

import logging
import os
from collections.abc import Callable

from headgate import _core, log
from headgate.control.channel import Channel, Message
from headgate.worker.loaded import Loaded

DRAIN_STEP_S = 0.02
TURN_S = 0.005  # in which the tasks that accept have run, and ended

logger = logging.getLogger("headgate.worker")


class Controls:
    """The engine of one worker in the supervisor's hands; `loaded` is what is in force."""

    def __init__(
        self,
        channel: Channel,
        orders: Message,
        loaded: Loaded,
        core: _core.Core,
        hook_times: Callable[[], list[Message]] = list,
    ) -> None:
        self.loaded = loaded
        self._channel, self._orders, self._core, self._hook_times = channel, orders, core, hook_times

    def say_prepared(self) -> None:
        """All is loaded and started up. From here on the channel does not block."""
        loaded = self.loaded
        self._channel.send(
            {
                "type": "prepared",
                "listeners": loaded.listeners,
                "workers": loaded.workers,
                "drain_s": loaded.drain_s,
                "is_data": loaded.is_data,
                "tls_module": _core.tls_module(),
            }
        )
        self._channel.socket.setblocking(False)

    def listen(self, message: Message, descriptors: list[int]) -> None:
        """Accepts from the sockets that came with `listen`, and says so."""
        for listener, descriptor in zip(message["listeners"], descriptors, strict=True):
            self._core.listen(descriptor, listener["name"], listener["address"])
        self._channel.send({"type": "ready"})

    def obey(self, message: Message, descriptors: list[int]) -> None:
        """Acts on a message that changes or asks for something while the worker serves on."""
        match message["type"]:
            case "apply":
                self._channel.send({"type": "applied", "error": self._apply(message, descriptors[0])})
            case "ticket_keys":
                self._core.use_ticket_keys([bytes.fromhex(key) for key in message["keys"]])
            case "query":
                hooks = self._hook_times() if message.get("hooks") else []
                self._channel.send({"type": "report", "report": self._report(), "hooks": hooks})

    def hand_over(self) -> None:
        """Gives the snapshot away, for workers that run already."""
        loaded = self.loaded
        descriptor = os.memfd_create("headgate-snapshot")
        with open(descriptor, "wb") as file:
            file.write(loaded.snapshot.encode())
            file.flush()
            change = {
                "drain_s": loaded.drain_s,
                "log_format": loaded.log_format,
                "log_level": loaded.log_level,
            }
            self._channel.send({"type": "snapshot", "change": change}, [descriptor])

    def _apply(self, message: Message, descriptor: int) -> str | None:
        """Puts a new configuration in force between two requests; what was wrong with it, if anything."""
        orders, change = self._orders, message["change"]
        with open(descriptor, "rb") as file:
            file.seek(0)
            snapshot = file.read().decode()
        try:
            self._core.apply(snapshot, [])
        except ValueError as error:
            logger.error("cannot apply the new configuration: %s", error)
            return str(error)
        self.loaded = self.loaded._replace(snapshot=snapshot, **change)
        log.configure(
            orders["log_format"] or change["log_format"], orders["log_level"] or change["log_level"]
        )
        return None

    def _report(self) -> Message:
        with open("/proc/self/statm") as statm:
            resident_pages = int(statm.read().split()[1])
        usage = os.times()
        return {
            "connections": self._core.connections(),
            "rss_bytes": resident_pages * os.sysconf("SC_PAGE_SIZE"),
            "cpu_s": round(usage.user + usage.system, 2),
        }
