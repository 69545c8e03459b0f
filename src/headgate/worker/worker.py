"""A worker: one process, one thread, one loop, which serves what its start message says. Started by the supervisor
only.

How it works: it reads its start message from descriptor 3, loads the user's code, runs the `startup` hooks, says
what it wants to listen on, gets the sockets, accepts, and says so. From then on it only listens to signals
and to the channel. A gateway without Python code has a `plain_worker`.
"""

import asyncio
import contextlib
import gc
import logging
import signal
from typing import TYPE_CHECKING, Any, NoReturn

from headgate import _core
from headgate.config.errors import ConfigError
from headgate.config.start_limit import ended_in_time
from headgate.control import inspection_messages, messages
from headgate.control.channel import Channel, ChannelClosed
from headgate.control.hook_times import times_of
from headgate.control.records import Message, MessageError
from headgate.control.signals import SUPERVISORS
from headgate.worker import own_hooks, start
from headgate.worker.controls import (
    DRAIN_STEP_S,
    TRACE_STEPS,
    TURN_S,
    CannotApply,
    Controls,
    Text,
    Told,
    read_told,
)
from headgate.worker.loaded import Loaded
from headgate.worker.loading import load_for
from headgate.worker.loop import Loop
from headgate.worker.start import StartFailed, summary
from headgate.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from headgate.background.background import Background
    from headgate.worker.changing import Changes
    from headgate.worker.inspecting import Inspector
    from headgate.worker.profiling import Profiler

CLOSE_STEPS = 50
END_TURNS = 20  # of the loop, in which connections that are cut off end
HANDLED = (signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, *SUPERVISORS)

logger = logging.getLogger("headgate.worker")


class Worker:
    """What one worker process does between its start message and its end."""

    def __init__(
        self, channel: Channel, start: messages.Start, loaded: Loaded, loop: Loop, core: _core.Core
    ) -> None:
        self._channel, self._loop, self._core = channel, loop, core
        self._controls = Controls(channel, start, loaded, core, lambda: times_of(core, self._loaded.hooks))
        self._changes: Changes | None = None
        """What of it may be changed while it serves; nothing where it holds no code."""
        if loaded.names and loaded.sources:
            from headgate.worker import changing

            self._changes = changing.Changes(core, loaded, loaded.names, loaded.sources, own_hooks.call)
        self._changing: asyncio.Task[None] | None = None
        self._listen: asyncio.Future[tuple[messages.Listen, list[int]]] = loop.create_future()
        self._proceeds: asyncio.Future[None] = loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        """Hooks of servers' states that run."""
        self._stopped = asyncio.Event()
        self._stopped_now: asyncio.Future[None] = loop.create_future()
        self._drains = False
        self._watchdog: Watchdog | None = None
        self._inspector: Inspector | None = None
        self._profiler: Profiler | None = None

    @property
    def _loaded(self) -> Loaded:
        """What is in force."""
        return self._controls.loaded

    def released(self) -> None:
        """Nothing runs any more under what it was started with."""
        if self._changes:
            self._changes.released()

    async def run(self) -> None:
        """Starts up, serves until stopped, shuts down."""
        self._handle_signals()
        if self._controls.offers and not await self._is_to_serve():
            return
        background = self._loaded.background
        try:
            if background:
                await self._open_services(background)
            with ended_in_time():
                await own_hooks.run_startup(self._loaded)
        except BaseException:
            if background:
                await background.end()
                await background.close()
            raise
        try:
            loaded = self._loaded
            self._controls.say_prepared()
            if not self._controls.offers:
                self._loop.add_reader(self._channel.fileno(), self._on_readable)
            await self._accept()
            if loaded.watchdog_s and loaded.hooks:
                self._watchdog = Watchdog(self._core, self._loop, loaded.watchdog_s, self._say)
            if background and not self._stopped.is_set():
                background.begin()
            await self._stopped.wait()
            if background:
                background.stop()
            if self._drains:
                await self._drain()
            await self._close_websockets()
            await self._send_traces()
        finally:
            if self._watchdog:
                self._watchdog.stop()
            self._core.close()
            await self._send_last_replies()
            if background:
                await background.end()
            if self._changes:
                await self._changes.end()
            await own_hooks.run_shutdown(self._loaded)
            if background:
                await background.close()
            self._core.flush_logs()

    async def _send_last_replies(self) -> None:
        """Gives the requests that were cut short a few turns of the loop, so that they can respond."""
        for _ in range(END_TURNS):
            if self._core.connections():
                await asyncio.sleep(0)

    async def _is_to_serve(self) -> bool:
        """Whether workers that run cannot take what was loaded here, before anything of it has run."""
        self._controls.offer()
        self._loop.add_reader(self._channel.fileno(), self._on_readable)
        stopped = self._loop.create_task(self._stopped.wait())
        stopped.add_done_callback(lambda _: self._proceeds.cancel())
        with contextlib.suppress(asyncio.CancelledError):
            await self._proceeds
        stopped.cancel()
        return not self._stopped.is_set()

    async def _open_services(self, background: "Background") -> None:
        try:
            await background.open()
        except ConnectionError as error:
            logger.error("%s", error)
            raise StartFailed(str(error), "runtime") from error

    async def _accept(self) -> None:
        # A worker that is stopped before it gets the sockets has nothing to accept.
        stopped = self._loop.create_task(self._stopped.wait())
        stopped.add_done_callback(lambda _: self._listen.cancel())
        try:
            message, descriptors = await self._listen
        except asyncio.CancelledError:
            return
        self._controls.listen(message, descriptors)

    async def _drain(self) -> None:
        """Waits for the last connection, for a limited time, and not after a fast stop."""
        self._core.drain()
        await asyncio.sleep(TURN_S)
        with contextlib.suppress(ChannelClosed, BlockingIOError):
            self._channel.send(messages.Draining())
        ends = self._loop.time() + self._loaded.drain_s
        background = self._loaded.background
        while (left := self._core.connections()) or (background and background.is_busy):
            if self._loop.time() > ends:
                tasks = background.tasks.count if background else 0
                logger.info("drain timeout reached", extra={"connections": left, "tasks": tasks})
                return
            # The engine has no event for its last connection: looking 50 times a second costs nothing here.
            await asyncio.wait([self._stopped_now], timeout=DRAIN_STEP_S)
            if self._stopped_now.done():
                return

    async def _send_traces(self) -> None:
        """Gives what is recorded of traces a moment to reach the collector."""
        for _ in range(TRACE_STEPS):
            if not self._core.flush_traces():
                return
            await asyncio.sleep(DRAIN_STEP_S)

    async def _close_websockets(self) -> None:
        """Closes the remaining WebSockets with 1001, and gives their peers a moment to reply."""
        for _ in range(CLOSE_STEPS):
            if not self._core.close_websockets():
                return
            await asyncio.sleep(DRAIN_STEP_S)

    # ---- what reaches a worker from outside

    def _handle_signals(self) -> None:
        loop = self._loop
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGQUIT, self._stop_gracefully)
        loop.add_signal_handler(signal.SIGUSR1, self._controls.reopen_logs)
        for number in SUPERVISORS:
            loop.add_signal_handler(number, _leave_it_to_the_supervisor)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

    def _stop(self) -> None:
        self._drains = False
        self._stopped.set()
        if not self._stopped_now.done():
            self._stopped_now.set_result(None)

    def _stop_gracefully(self) -> None:
        if not self._stopped.is_set():
            self._drains = True
            self._stopped.set()

    def _on_readable(self) -> None:
        try:
            self._on_message(*self._channel.receive())
        except BlockingIOError:
            return
        except MessageError as error:
            logger.error("invalid message from the supervisor: %s", error)
        except ChannelClosed:
            self._loop.remove_reader(self._channel.fileno())
            logger.warning("the supervisor has exited: draining")
            if self._inspector:
                self._inspector.end_all()
            if self._profiler:
                self._profiler.end_all()
            self._stop_gracefully()

    def _on_message(self, message: Message, descriptors: list[int]) -> None:
        match message:
            case messages.Listen():
                if not self._listen.done():
                    self._listen.set_result((message, descriptors))
            case messages.Proceed():
                if not self._proceeds.done():
                    self._proceeds.set_result(None)
            case messages.Prepare() if self._changes:
                told, text = read_told(descriptors[0])
                preparing = self._prepare(self._changes, message, told, text, self._changing)
                self._changing = self._loop.create_task(preparing)
                self._changing.add_done_callback(lambda _: text.close())
            case messages.Commit() if self._changes:
                self._controls.commit(message, descriptors, self._swap)
            case messages.Discard() if self._changes:
                if self._changing:
                    self._changing.cancel()
                self._changes.discard()
            case messages.ServerStateChanged():
                task = self._loop.create_task(own_hooks.run_server_state(self._loaded, message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case inspection_messages.Inspect():
                self._inspect(message)
            case inspection_messages.TakeProfile():
                self._take_profile(message)
            case inspection_messages.InspectEnd(id=number):
                if self._inspector:
                    self._inspector.end(number)
            case _:
                self._controls.handle(message, descriptors)

    async def _prepare(
        self,
        changes: "Changes",
        asked: messages.Prepare,
        told: Told,
        text: Text,
        former: asyncio.Task[None] | None,
    ) -> None:
        from headgate.compile.names import CannotTake

        if former:
            await asyncio.wait([former])  # what was discarded ends before anything else is made ready

        refused = None
        try:
            if "error" in told:
                raise CannotTake(told["error"])
            if "sources" not in told:
                raise CannotTake("it holds no code any more")
            if told["watchdog_s"] != self._loaded.watchdog_s:
                raise CannotTake("`watchdog` differs")
            await changes.prepare(told, text)
        except CannotTake as error:
            refused = CannotApply(str(error), needs_workers=True)
        except ConfigError as error:
            refused = CannotApply(str(error))
        except (Exception, SystemExit) as error:
            logger.exception("cannot prepare the new configuration")
            refused = CannotApply(summary(error))
        with contextlib.suppress(ChannelClosed, BlockingIOError):
            self._controls.prepared(asked, refused, told)

    def _swap(self) -> dict[str, Any]:
        assert self._changes is not None, "only called where there are some"
        version = self._changes.commit()
        if self._inspector:
            self._inspector.roots = [hook.function for hook in version.hooks]
        return {
            "hooks": version.hooks,
            "startup": version.startup,
            "shutdown": version.shutdown,
            "server_state": version.server_state,
        }

    def _inspect(self, message: inspection_messages.Inspect) -> None:
        if self._inspector is None:
            from headgate.worker.inspecting import Inspector

            hooks = [*self._loaded.hooks, *self._loaded.startup, *self._loaded.shutdown]
            roots = [hook.function for hook in hooks]
            self._inspector = Inspector(self._core, self._loop, self._channel, roots)
        self._inspector.begin(message)

    def _say(self, message: Message) -> None:
        with contextlib.suppress(ChannelClosed, BlockingIOError):
            self._channel.send(message)

    def _take_profile(self, message: inspection_messages.TakeProfile) -> None:
        if self._profiler is None:
            from headgate.worker.profiling import Profiler

            self._profiler = Profiler(self._loop, self._channel)
        self._profiler.begin(message, self._loaded.hooks)


def main() -> NoReturn:
    """The whole life of the process."""
    start.run(_serve)


def _serve(channel: Channel, message: messages.Start, descriptors: list[int]) -> None:
    loop = Loop()
    asyncio.set_event_loop(loop)
    loaded = start.loaded(lambda: load_for(channel, message.source))
    workers: list[Worker] = []  # the one, once it is there
    core = start.start_engine(loop, loaded, message, descriptors, lambda: workers[0].released())
    loop.attach(core)
    if loaded.background:
        loaded.background.count = core.count
    gc.collect()
    gc.freeze()  # what was loaded stays: later collections need not look at it
    try:
        workers.append(Worker(channel, message, loaded, loop, core))
        loop.run_until_complete(workers[0].run())
    finally:
        loop.run_until_complete(_end_tasks())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.detach()
        # asyncio closes what its signal handlers write to before it takes them off.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        loop.close()


async def _end_tasks() -> None:
    """Cancels what the user's code left running, and lets it clean up."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1.0)


def _leave_it_to_the_supervisor() -> None:
    """Ctrl-C reaches every process of the terminal; only the supervisor acts on it."""
