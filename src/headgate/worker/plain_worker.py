"""A worker for a gateway without Python code: that of `headgate proxy`. Started by the supervisor only.

How it works: it does what `worker` does, but on the supervisor's reactor instead of asyncio, which takes as long to
load as all the rest and would have nothing to do here. The reactor waits in the engine, as asyncio does elsewhere.
"""

import gc
import logging
import signal
import time
from typing import NoReturn

from headgate import _core
from headgate.control import inspection_messages, messages
from headgate.control.channel import Channel, ChannelClosed
from headgate.control.reactor import Reactor
from headgate.control.records import Message, MessageError
from headgate.control.signals import SUPERVISORS, Intent, SignalPipe
from headgate.worker import start
from headgate.worker.controls import DRAIN_STEP_S, TRACE_STEPS, TURN_S, Controls
from headgate.worker.core_selector import CoreSelector
from headgate.worker.source import load

END_TURNS = 20  # in which connections that are cut off end

logger = logging.getLogger("headgate.worker")


class PlainWorker:
    """What it does between its start message and its end."""

    def __init__(self, channel: Channel, controls: Controls, reactor: Reactor, core: _core.Core) -> None:
        self._channel, self._controls, self._reactor, self._core = channel, controls, reactor, core
        self._is_draining = False
        self._drains_until = 0.0

    def run(self) -> None:
        """Serves until stopped."""
        signals = SignalPipe(ignored=SUPERVISORS)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        self._reactor.watch(signals, lambda: self._act_on(signals.intents()))
        if self._controls.offers:
            self._controls.offer()
        else:
            self._controls.say_prepared()
        self._reactor.watch(self._channel, self._on_readable)
        self._reactor.run()

    def _act_on(self, intents: list[Intent]) -> None:
        for intent in intents:
            if intent is Intent.STOP_NOW:
                self._reactor.stop()
            elif intent is Intent.STOP:
                self._drain()
            elif intent is Intent.REOPEN_LOGS:
                self._controls.reopen_logs()

    def _on_readable(self) -> None:
        try:
            self._on_message(*self._channel.receive())
        except BlockingIOError:
            return
        except MessageError as error:
            logger.error("invalid message from the supervisor: %s", error)
        except ChannelClosed:
            self._reactor.unwatch(self._channel)
            logger.warning("the supervisor has exited: draining")
            self._drain()

    def _on_message(self, message: Message, descriptors: list[int]) -> None:
        match message:
            case messages.Listen():
                self._controls.listen(message, descriptors)
            case messages.Proceed():
                self._controls.say_prepared()
            case inspection_messages.TakeProfile(id=number):
                error = "this gateway runs no Python code"
                self._channel.send(inspection_messages.ProfileTaken(id=number, error=error))
            case inspection_messages.Inspect(id=number):
                error = "this gateway runs no Python code"
                self._channel.send(inspection_messages.Inspecting(id=number, error=error))
            case _:
                self._controls.handle(message, descriptors)

    def _drain(self) -> None:
        """Accepts nothing any more, and stops after the last connection, or at the drain limit."""
        if self._is_draining:
            return
        self._is_draining = True
        self._core.drain()
        self._drains_until = time.monotonic() + self._controls.loaded.drain_s
        self._reactor.call_later(TURN_S, self._say_draining)

    def _say_draining(self) -> None:
        try:
            self._channel.send(messages.Draining())
        except (ChannelClosed, BlockingIOError):
            pass
        self._stop_when_drained()

    def _stop_when_drained(self) -> None:
        left = self._core.connections()
        if left and time.monotonic() < self._drains_until:
            # The engine has no event for its last connection: looking 50 times a second costs nothing here.
            self._reactor.call_later(DRAIN_STEP_S, self._stop_when_drained)
            return
        if left:
            logger.info("drain timeout reached", extra={"connections": left})
        self._reactor.stop()


def main() -> NoReturn:
    """The whole life of the process."""
    start.run(_serve)


def _serve(channel: Channel, message: messages.Start, descriptors: list[int]) -> None:
    loaded = start.loaded(lambda: load(message.source))
    core = start.start_engine(None, loaded, message, descriptors)
    selector = CoreSelector()
    selector.attach(core)
    gc.freeze()  # what was loaded stays: later collections need not look at it
    try:
        PlainWorker(channel, Controls(channel, message, loaded, core), Reactor(selector), core).run()
        for _ in range(TRACE_STEPS):
            if not core.flush_traces():
                break
            core.poll(DRAIN_STEP_S)
    finally:
        core.close()
        for _ in range(END_TURNS):
            if core.connections():
                core.poll(0.0)
        core.flush_logs()
