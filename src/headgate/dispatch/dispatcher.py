"""One upstream: the requests that wait, the workers that are idle, and how they come together.

How it works: a request is handed to an idle worker at once, the one that became idle last, or waits. Whoever says that
it is idle gets the request whose turn it is (`waiting`). What has no response when its worker is lost
fails, or is handed out again where it may run twice.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Protocol

from headgate.dispatch.figures import Figures
from headgate.dispatch.request import Request
from headgate.dispatch.settings import Settings
from headgate.dispatch.sharing import Sharing
from headgate.dispatch.waiting import Waiting
from headgate.dispatch.worker_link import WorkerLink

if TYPE_CHECKING:
    from headgate.dispatch.client_link import ClientLink

QUEUE_FULL, WAITED_TOO_LONG = "pull_queue_full", "pull_wait_timeout"
WORKER_LOST, WORKER_LATE = "pull_worker_lost", "pull_worker_timeout"
BAD_RESPONSE, DEADLINE = "pull_bad_response", "pull_deadline"
STATUSES = {
    QUEUE_FULL: 503,
    WAITED_TOO_LONG: 503,
    WORKER_LOST: 502,
    WORKER_LATE: 504,
    BAD_RESPONSE: 502,
    DEADLINE: 504,
}
LONGEST_RETRY_AFTER_S = 60


class Watcher(Protocol):
    """Who is told while it is connected."""

    def look(self) -> None:
        """The number of requests may have changed."""

    def leave(self) -> None:
        """Its connection is to end."""


class Dispatcher:
    """Of one upstream."""

    def __init__(self, settings: Settings, figures: Figures) -> None:
        self.settings, self.figures = settings, figures
        self.waiting: Waiting[Request] = Waiting()
        self.idle: dict[WorkerLink, None] = {}
        """In the order in which they became so."""
        self.links: set[WorkerLink] = set()
        self.clients: set[ClientLink] = set()
        """Connections of the gateway's workers."""
        self._timers: dict[Request, asyncio.TimerHandle] = {}
        self._leaving: set[WorkerLink] = set()
        """Those that are to connect again."""
        self._is_ending = False
        """Whether nobody can connect again, so that those who are here serve all that waits."""
        self._loop = asyncio.get_running_loop()
        self._held_bytes = 0
        """What requests that wait may hold of their bodies."""
        self._sharing = Sharing(self, settings.shared, figures) if settings.shared else None
        self._ending: set[asyncio.Task[None]] = set()
        self.watchers: set[Watcher] = set()

    def take_up(self, settings: Settings) -> None:
        """Works by other settings from here on; workers whose token is gone get no further request."""
        before, self.settings = self.settings, settings
        if before.shared != settings.shared:
            self._share_anew()
        for link in [one for one in self.links if one.token not in settings.tokens]:
            self.idle.pop(link, None)
            self._leaving.add(link)
            if link.request is None:
                link.close()

    # ---- requests

    def came(self, request: Request) -> None:
        """A request is to be served."""
        if self.idle:
            link, _ = self.idle.popitem()
            self._hand_out(request, link)
        elif len(self.waiting) >= self.settings.queue or not self._has_room(request):
            self._fail(request, QUEUE_FULL)
        else:
            self._wait(request)

    def left(self, request: Request) -> None:
        """Nobody wants its response any more; a worker that has it is told."""
        self._disarm(request)
        if request.holder:
            request.holder.cancel()
        elif self.waiting.remove(request):
            self._let_go(request)
            self._show()

    # ---- workers

    def joined(self, link: WorkerLink) -> None:
        """A worker has connected."""
        self.links.add(link)
        self._show()

    def ready(self, link: WorkerLink) -> None:
        """A worker is idle."""
        if link in self._leaving and not self._is_ending:
            return link.leave()
        if self._sharing and (self.waiting or link not in self._leaving):
            return self._sharing.ready(link)
        request = self._next()
        if request is not None:
            self._hand_out(request, link)
        elif link in self._leaving:
            link.leave()
        else:
            self.idle[link] = None
        return None

    def hand_out_for(self, announcement: str, link: WorkerLink) -> bool:
        """Has a shared worker, which is idle, serve the request whose turn it is; false if none waits."""
        if link in self._leaving and not self._is_ending:
            return False
        request = self._next()
        if request is not None:
            self._hand_out(request, link, announcement)
        return request is not None

    def declined(self, request: Request, *, is_wanted: bool) -> None:
        """A worker was handed it, and has not begun: it is another worker's."""
        self._disarm(request)
        request.holder = None
        self.waiting.undone(request.caller, request.charged_s)
        self.figures.running.add(-1.0)
        if self._sharing:
            self.figures.announcement("declined")
        if is_wanted:
            request.attempt -= 1
            self._again(request)

    def ready_again(self, link: WorkerLink) -> None:
        """A worker that has declined a request has another one, of another gateway, or will say that it is idle."""
        if link in self._leaving:
            self.ready(link)

    def leaves(self, link: WorkerLink) -> None:
        """A worker wants no further request."""
        self.idle.pop(link, None)
        if self._sharing:
            self._sharing.lost(link)

    def response_began(self, request: Request) -> None:
        """The response has begun."""
        request.has_begun = True
        self._disarm(request)

    def served(self, request: Request) -> None:
        """The response is complete."""
        self.figures.served.add(1.0)
        self.released(request)

    def released(self, request: Request) -> None:
        """The worker does no more for it."""
        self._disarm(request)
        request.holder = None
        self.waiting.done(request.caller, self._loop.time() - request.handed_out_s, request.charged_s)
        self.figures.running.add(-1.0)

    def lost(self, link: WorkerLink) -> None:
        """A worker is gone."""
        self.links.discard(link)
        self._leaving.discard(link)
        self.leaves(link)
        self._show()

    def failed(self, request: Request, failure: str) -> None:
        """A worker that had it has not served it."""
        if failure == WORKER_LOST:
            self.figures.lost.add(1.0)
        if failure == WORKER_LOST and request.may_run_again(self.settings):
            self.figures.again.add(1.0)
            self._again(request)
        elif request.has_begun:
            self.figures.failed(failure)
            request.waiter.cut()
        else:
            self._fail(request, failure)

    def have_all_leave(self, *, is_ending: bool = False) -> None:
        """Has the workers that are connected connect again, after the request that they have. With `is_ending` nobody
        can, and they leave when nothing waits any more.
        """
        self._leaving |= self.links
        self._is_ending = self._is_ending or is_ending
        idle, self.idle = [*self.idle], {}
        if self._sharing and not (is_ending and self.waiting):
            idle = [link for link in self.links if link.is_free]
        for link in idle:
            link.leave()
        for watcher in list(self.watchers):
            watcher.leave()

    def close(self) -> None:
        """Ends all connections."""
        for link in list(self.links):
            link.close()
        for client in list(self.clients):
            client.close()

    async def closed(self) -> None:
        """Gives back what other gateways share; after `close`."""
        if self._sharing:
            await self._sharing.close()
        await asyncio.gather(*self._ending)

    # ---- what is known

    @property
    def requests(self) -> int:
        """Those that wait, and those that workers have."""
        return len(self.waiting) + sum(1 for link in self.links if link.request)

    def told(self) -> dict[str, Any]:
        """The figures for those who scale workers."""
        oldest = min((one.came_s for one in self.waiting), default=None)
        running = self.requests - len(self.waiting)
        return {
            "upstream": self.settings.upstream,
            "waiting": len(self.waiting),
            "running": running,
            "requests": len(self.waiting) + running,
            "workers": len(self.links),
            "idle": self._sharing.announced if self._sharing else len(self.idle),
            "oldest_wait_seconds": 0.0 if oldest is None else round(self._loop.time() - oldest, 3),
            "mean_seconds": round(self.waiting.mean_s, 4),
        }

    # ---- steps

    def _share_anew(self) -> None:
        if self._sharing:
            task = self._loop.create_task(self._sharing.close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        shared = self.settings.shared
        self._sharing = Sharing(self, shared, self.figures) if shared else None
        self.have_all_leave()

    def _has_room(self, request: Request) -> bool:
        """Whether what it may hold of its body while it waits fits beside that of the others."""
        return self._held_bytes + request.most_held <= self.settings.queue_bytes

    def _let_go(self, request: Request) -> None:
        self._held_bytes -= request.held
        request.held = 0

    def _next(self) -> Request | None:
        """The request whose turn it is; it waits no longer."""
        request = self.waiting.take()
        if request is not None:
            self._let_go(request)
            self._disarm(request)
        return request

    def _again(self, request: Request) -> None:
        """Has another worker serve it, before the others."""
        request.rewind()
        if self.idle:
            link, _ = self.idle.popitem()
            self._hand_out(request, link)
        else:
            self._wait(request, again=True)

    def _wait(self, request: Request, *, again: bool = False) -> None:
        now_s, settings = self._loop.time(), self.settings
        left_s, failure = settings.wait, WAITED_TOO_LONG
        if request.deadline_s is not None and request.deadline_s - now_s < left_s:
            left_s, failure = max(request.deadline_s - now_s, 0.0), DEADLINE
        request.held = max(request.most_held, len(request.body))
        self._held_bytes += request.held
        self.waiting.put(request, request.priority, request.caller, first=again)
        self._timers[request] = self._loop.call_later(left_s, self._waited_too_long, request, failure)
        if self._sharing:
            self._sharing.wake()
        self._show()

    def _waited_too_long(self, request: Request, failure: str) -> None:
        self.left(request)
        self._fail(request, failure)

    def _hand_out(self, request: Request, link: WorkerLink, announcement: str | None = None) -> None:
        now_s = self._loop.time()
        if not request.handed_out_s:  # once, though it is declined or handed out again
            self.figures.wait.observe(now_s - request.came_s)
        request.handed_out_s, request.holder = now_s, link
        request.attempt += 1
        request.charged_s = self.waiting.begun(request.caller)
        self.figures.running.add(1.0)
        limit_s, failure = self.settings.timeout, WORKER_LATE
        if request.deadline_s is not None and request.deadline_s - now_s < limit_s:
            limit_s, failure = max(request.deadline_s - now_s, 0.0), DEADLINE
        self._timers[request] = self._loop.call_later(limit_s, self._is_late, request, failure)
        link.hand_out(request, limit_s, announcement)
        self._show()

    def _is_late(self, request: Request, failure: str) -> None:
        self.left(request)
        self._fail(request, failure)

    def _fail(self, request: Request, failure: str) -> None:
        self.figures.failed(failure)
        status = STATUSES[failure]
        request.waiter.reply(status, failure, self._retry_after_s() if status == 503 else None)

    def _retry_after_s(self) -> int:
        """About when those who wait now will have been served."""
        expected_s = len(self.waiting) * self.waiting.mean_s / max(len(self.links), 1)
        return min(max(math.ceil(expected_s), 1), LONGEST_RETRY_AFTER_S)

    def _disarm(self, request: Request) -> None:
        if timer := self._timers.pop(request, None):
            timer.cancel()

    def _show(self) -> None:
        self.figures.waiting.set(float(len(self.waiting)))
        self.figures.workers.set(float(len(self.links)))
        if self._sharing and self._is_ending and not self.waiting:
            for link in [one for one in self._leaving if one.is_free]:
                link.leave()
        for watcher in list(self.watchers):
            watcher.look()
