"""The messages between a worker and the supervisor, the same for both kinds of worker."""

import faulthandler
import logging
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from headgate import _core, log
from headgate.control import memory, messages
from headgate.control.channel import Channel, ChannelClosed
from headgate.control.messages import DUMP_SIGNAL, HookTimes, Start
from headgate.control.records import Message
from headgate.worker.loaded import Loaded

DRAIN_STEP_S = 0.02
TRACE_STEPS = 100  # of that length, for the last traces
TURN_S = 0.005  # in which the tasks that accept have run, and ended

_PREPARED = messages.ChangePrepared()
_APPLIED = messages.Applied(keeps_plans=True)

Told = dict[str, Any]
"""What a worker has loaded, as JSON, but for the snapshot: see `Loaded.told`."""

logger = logging.getLogger("headgate.worker")


class CannotApply(NamedTuple):
    """Why a configuration cannot be applied here."""

    error: str
    needs_workers: bool = False
    """Whether workers that load it themselves could serve it."""


class Text:
    """The text of a snapshot in memory, from a position on; to be closed where the engine has not taken it over."""

    def __init__(self, descriptor: int, start: int) -> None:
        self._descriptor: int | None = descriptor
        self._start = start

    def taken(self) -> tuple[int, int]:
        """Its descriptor, which is the caller's from now on, and the position."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            raise ValueError("the text was taken over")
        return descriptor, self._start

    def close(self) -> None:
        """Closes the descriptor, unless it was taken over."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_told(descriptor: int) -> tuple[Told, Text]:
    """What another process has loaded, and the snapshot behind it; the descriptor is the text's from now on."""
    try:
        told, start = memory.read_line(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return told, Text(descriptor, start)


class Coming(NamedTuple):
    """What is ready to be applied."""

    asked: messages.Prepare | messages.PrepareDifference
    plans: dict[str, Any]
    """As in `Loaded`."""


class Controls:
    """The engine of one worker in the supervisor's hands; `loaded` is what is in force."""

    def __init__(
        self,
        channel: Channel,
        start: Start,
        loaded: Loaded,
        core: _core.Core,
        hook_times: Callable[[], list[HookTimes]] = list,
    ) -> None:
        self.loaded = loaded
        self.offers = start.offers
        """Whether workers that run may take what was loaded here."""
        self._coming: Coming | None = None
        self._label: str | None = None
        """What the agent calls the configuration in force; None for one that it did not propose."""
        self._channel, self._start, self._core, self._hook_times = channel, start, core, hook_times

    def say_prepared(self) -> None:
        """All is loaded and started up. From here on the channel does not block."""
        loaded = self.loaded
        tls_module, is_fips = _core.tls_module()
        stacks = _dump_stacks_on_signal()
        self._channel.send(
            messages.Prepared(
                listeners=loaded.listeners,
                modes=loaded.modes,
                places=loaded.places,
                metrics=loaded.metrics,
                statsd=loaded.statsd,
                workers=loaded.workers,
                drain_s=loaded.drain_s,
                kill_s=loaded.kill_s,
                max_draining=loaded.max_draining,
                ships_logs=loaded.ships_logs,
                tls_module=tls_module,
                is_fips=is_fips,
            ),
            [stacks],
        )
        os.close(stacks)
        self._channel.socket.setblocking(False)

    def listen(self, message: messages.Listen, descriptors: list[int]) -> None:
        """Accepts from the sockets that came with `Listen`, and says so."""
        self._accept(message.listeners, descriptors)
        self._say_with_plans(messages.Ready)

    def _accept(self, listeners: list[messages.BoundListener], descriptors: list[int]) -> None:
        for listener, descriptor in zip(listeners, descriptors, strict=True):
            self._core.listen(descriptor, listener.name, listener.address)

    def handle(self, message: Message, descriptors: list[int]) -> None:
        """Acts on a message that changes or asks for something while the worker serves on."""
        match message:
            case messages.PrepareDifference():
                self.prepared(message, self._prepare_difference(message), {})
            case messages.Prepare():
                self._prepare(message, *read_told(descriptors[0]))
            case messages.Commit():
                self.commit(message, descriptors)
            case messages.Discard():
                self._core.discard()
            case messages.Ping():
                self._channel.send(messages.Pong())
            case messages.Adopt(listeners=listeners):
                logger.warning("another worker is blocked; accepting in its place")
                self._accept(listeners, descriptors)
            case messages.TicketKeys(keys=keys):
                self._core.use_ticket_keys([bytes.fromhex(key) for key in keys])
            case messages.FollowLog():
                self._core.follow_log(descriptors[0])
            case messages.Query(hooks=wants_hooks):
                hooks = self._hook_times() if wants_hooks else []
                self._channel.send(messages.Report(report=self._report(), hooks=hooks))

    def reopen_logs(self) -> None:
        """Opens the log files anew; one that cannot be opened is logged, and the old one is written on."""
        try:
            self._core.reopen_logs()
        except OSError as error:
            logger.error("cannot reopen the access log: %s", error)

    def offer(self) -> None:
        """Gives away what was loaded, for workers that run already. From here on the channel does not block."""
        loaded = self.loaded
        descriptor = memory.holding("snapshot", loaded.told)
        try:
            offer = messages.Offer(
                change=loaded.change,
                listeners=loaded.listeners,
                modes=loaded.modes,
                places=loaded.places,
                metrics=loaded.metrics,
                statsd=loaded.statsd,
            )
            self._channel.send(offer, [descriptor])
        finally:
            os.close(descriptor)
        self._channel.socket.setblocking(False)

    def prepared(
        self,
        asked: messages.Prepare | messages.PrepareDifference,
        refused: "CannotApply | None",
        told: Told,
    ) -> None:
        """Says whether a change is ready to be applied."""
        self._coming = None if refused else Coming(asked, told.get("plans", {}))
        if refused:
            logger.log(
                logging.DEBUG if refused.needs_workers else logging.ERROR,
                "cannot apply the new configuration: %s",
                refused.error,
            )
            self._channel.send(
                messages.ChangePrepared(error=refused.error[:16000], needs_workers=refused.needs_workers)
            )
        else:
            self._channel.send(_PREPARED)

    def commit(
        self,
        message: messages.Commit,
        descriptors: list[int],
        swap: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        """Applies what was prepared, between two requests; `swap` does it, and gives what else is new."""
        if self._coming is None:
            return
        (asked, plans), self._coming = self._coming, None
        self._label = asked.label
        if isinstance(asked, messages.PrepareDifference):
            self._core.commit()
            self._channel.send(_APPLIED)
            return
        change = asked.change
        for address in message.removed:
            self._core.unlisten(address)
        if swap:
            new = swap()
        else:
            self._core.commit()
            new = {}
        self._accept(message.added, descriptors)
        self.loaded = self.loaded._replace(snapshot="", plans=plans, **new, **change.plain())
        start = self._start
        try:
            log.configure(
                start.log_format or change.log_format, start.log_level or change.log_level, change.log_to
            )
        except OSError as error:
            logger.error("cannot open the error log; still using the old one: %s", error)
        self._say_with_plans(messages.Applied)

    def _say_with_plans(self, kind: type[messages.Ready] | type[messages.Applied]) -> None:
        """Sends it with what the processes beside the workers are to do."""
        plans = self.loaded.plans
        if not plans:
            return self._channel.send(kind())
        import hashlib
        import json

        texts = {name: json.dumps(plan, sort_keys=True).encode() for name, plan in plans.items()}
        descriptors = [memory.holding(f"plan-{name}", text) for name, text in texts.items()]
        try:
            digests = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
            self._channel.send(kind(plans=digests), descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return None

    def _prepare(self, asked: messages.Prepare, told: Told, text: Text) -> None:
        """Makes a configuration ready that holds no code, beside the loop."""
        if told.get("sources") is not None or "error" in told:
            text.close()
            refused = CannotApply("it has code, and the running version does not", needs_workers=True)
            return self.prepared(asked, refused, told)

        def done(error: str | None) -> None:
            try:
                self.prepared(asked, None if error is None else CannotApply(error), told)
            except (ChannelClosed, BlockingIOError):
                logger.debug("the supervisor is not told that a change is ready")

        return self._core.prepare_aside(*text.taken(), [], done)

    def _prepare_difference(self, asked: messages.PrepareDifference) -> "CannotApply | None":
        """Makes other routes ready, if they differ from those in force."""
        if asked.base != self._label:
            return CannotApply("it is a difference to another configuration", needs_workers=True)
        try:
            self._core.prepare_difference(asked.told)
        except ValueError as error:
            return CannotApply(str(error))
        return None

    def _report(self) -> messages.WorkerReport:
        with open("/proc/self/statm") as statm:
            resident_pages = int(statm.read().split()[1])
        usage = os.times()
        return messages.WorkerReport(
            connections=self._core.connections(),
            rss_bytes=resident_pages * os.sysconf("SC_PAGE_SIZE"),
            cpu_s=round(usage.user + usage.system, 2),
        )


def _dump_stacks_on_signal() -> int:
    """Has `DUMP_SIGNAL` write the stacks of all threads into the memory of which this is the descriptor.

    The handler is in C and needs no lock, so that it works whatever holds the interpreter.
    """
    descriptor = os.memfd_create("headgate-stacks")
    faulthandler.register(DUMP_SIGNAL, file=os.dup(descriptor))
    return descriptor
