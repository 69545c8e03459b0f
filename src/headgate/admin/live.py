"""GET `/v1/live`: what the dashboard draws, as counters that only grow; who reads it twice knows what came in between.

How it works: the numbers are asked for at most once a second, however many pages are open, and less often where there
are so many that adding them up would take more than `MOST_SHARE` of a core, here and in the supervisor. A look is
written once for all pages, and a page that has it already is told only that. Nothing is kept for a page. A histogram
is given as pairs of the position of a bound in `bounds` and the calls under that bound,
without those that nothing fell into.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from headgate.control.commands import Status
from headgate.control.numbers import Numbers, Times

from .access import Caller
from .bodies import number, query
from .node import Node

SHORTEST_S = 1.0
"""Between two looks at the gateway."""
LONGEST_S = 15.0
MOST_SHARE = 0.006
"""Of a core; responding to pages comes on top of it."""
LARGEST = 10**15
REQUESTS, TOOK = "headgate_requests_total", "headgate_request_duration_seconds"
HOOK_TOOK = "headgate_hook_seconds"
SERVER_TOOK = "headgate_upstream_response_seconds"
PULL_WAIT = "headgate_pull_wait_seconds"


class _Look(NamedTuple):
    """A look, written once for all pages."""

    number: int
    """By which a page says which one it has; not one of another process's either."""
    at_s: float
    text: bytes
    """A JSON object, without what is not for everybody."""
    loop_holds: bytes

    def shown_to(self, caller: Caller) -> bytes:
        """All that they may see."""
        holds = b"[]" if caller.role == "read" else self.loop_holds  # lines of code are not for everybody
        return b"%b%b,%b" % (_begin(caller), b',"loop_holds":' + holds, self.text[1:])

    def same(self, caller: Caller) -> bytes:
        """For a page that has it."""
        return b'%b,"number":%d}' % (_begin(caller), self.number)


class Live:
    """The newest look at a gateway."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, spent: Callable[[], float] = time.process_time
    ) -> None:
        self._clock, self._spent = clock, spent
        self._pause_s = SHORTEST_S
        self._lock = asyncio.Lock()
        self._numbers = itertools.count(1 + int(1000 * clock()))
        self._seen: _Look | None = None

    async def respond(self, request: Request, node: Node, caller: Caller) -> Response:
        """The response to a page, which may say which look it has."""
        after = number(query(request, "after"), "after", 0, 0, LARGEST)
        look = await self._look(node)
        body = look.same(caller) if look.number == after else look.shown_to(caller)
        return Response(body, media_type="application/json")

    async def _look(self, node: Node) -> _Look:
        async with self._lock:
            if self._seen is None or self._clock() - self._seen.at_s >= self._pause_s:
                status, (numbers, added_up_s) = await node.status(), await node.metrics()
                at_s, begun_s = self._clock(), self._spent()
                self._seen = self._written(at_s, looked_at(status, Numbers(numbers)))
                took_s = self._spent() - begun_s + added_up_s
                self._pause_s = min(max(took_s / MOST_SHARE, SHORTEST_S), LONGEST_S)
            return self._seen

    def _written(self, at_s: float, look: dict[str, Any]) -> _Look:
        number, holds = next(self._numbers), look.pop("loop_holds")
        return _Look(number, at_s, _json({"number": number, "at_s": at_s, **look}), _json(holds))


def _begin(caller: Caller) -> bytes:
    return b'{"caller":%b' % _json({"name": caller.name, "role": caller.role})


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()  # in ASCII, whatever names hold


def looked_at(status: Status, numbers: Numbers) -> dict[str, Any]:
    """A gateway at one moment."""
    routes = numbers.times(TOOK, lambda labels: labels["route"])
    servers = numbers.times(SERVER_TOOK, lambda labels: (labels["upstream"], labels["server"]))
    bounds = sorted({bound for times in (*routes.values(), *servers.values()) for bound in times.buckets})
    places = {bound: place for place, bound in enumerate(bounds)}
    requests = numbers.by_both(REQUESTS, "route", "status")
    return {
        "state": "stopping" if status.stopping else "reloading" if status.reloading else "serving",
        "generation": status.generation,
        "uptime_s": status.uptime_s,
        "is_counted": bool(requests),
        "totals": {
            "requests": sum(requests.values()) if requests else status.counters.get("requests", 0),
            "active": numbers.total("headgate_requests_active"),
            "connections": numbers.total("headgate_connections_active"),
            "websockets": numbers.total("headgate_websockets_active"),
            "queued": numbers.total("headgate_queued_active"),
        },
        "bounds": [None if bound == float("inf") else bound for bound in bounds],
        "routes": _routes(requests, routes, places),
        "servers": list(_servers(status, numbers, servers, places)),
        "pulls": list(_pulls(numbers)),
        "hooks": list(_hooks(numbers)),
        "failures": numbers.by("headgate_failures_total", "kind"),
        "certificates": [
            {"listener": listener, "name": name, "expires_at": ends}
            for (listener, name), ends in sorted(
                numbers.by_both(
                    "headgate_tls_certificate_expiry_timestamp_seconds", "listener", "name"
                ).items()
            )
        ],
        "loop_holds": [one.plain() for one in status.loop_holds],
        "workers": [worker.plain() for worker in status.workers],
    }


def _routes(
    requests: Mapping[tuple[str, str], float], took: Mapping[str, Times], places: Mapping[float, int]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for (route, status), count in requests.items():
        entry = found.setdefault(
            route, {"classes": {}, "buckets": _pairs(took.get(route, Times({}, 0.0)), places)}
        )
        entry["classes"][status] = count
    return found


def _hooks(numbers: Numbers) -> Iterable[dict[str, Any]]:
    """The calls of each hook and their time, in all."""
    took = numbers.times(HOOK_TOOK, lambda labels: (labels["phase"], labels["hook"], labels["plugin"]))
    for (phase, hook, plugin), times in sorted(took.items()):
        yield {"phase": phase, "hook": hook, "plugin": plugin, "calls": times.calls, "seconds": times.sum_s}


def _pulls(numbers: Numbers) -> Iterable[dict[str, Any]]:
    """The queue of each upstream whose workers fetch requests, and its waits in all."""
    gauges = {
        key: numbers.by(f"headgate_pull_{key}", "upstream") for key in ("waiting", "running", "workers")
    }
    waited = numbers.times(PULL_WAIT, lambda labels: labels["upstream"])
    for upstream in sorted(gauges["workers"]):
        times = waited.get(upstream, Times({}, 0.0))
        yield {
            "upstream": upstream,
            **{key: found.get(upstream, 0.0) for key, found in gauges.items()},
            "waits": times.calls,
            "waited_s": times.sum_s,
        }


def _servers(
    status: Status,
    numbers: Numbers,
    took: Mapping[tuple[str, str], Times],
    places: Mapping[float, int],
) -> Iterable[dict[str, Any]]:
    """Those that are known by a request, by their place in rotation, or by what is said of them."""
    labels = ("upstream", "server")
    said = {(one.upstream, one.server): one for one in status.servers}
    up = numbers.by_both("headgate_upstream_server_up", *labels)
    active = numbers.by_both("headgate_upstream_requests_active", *labels)
    idle = numbers.by_both("headgate_upstream_idle_connections", *labels)
    failures = numbers.by_both("headgate_upstream_failures_total", *labels)
    retries = numbers.by_both("headgate_upstream_retries_total", *labels)
    for key in sorted({*took, *said, *up}):
        one = said.get(key)
        yield {
            "upstream": key[0],
            "server": key[1],
            "state": one.out_by if one else "",
            "weight": one.weight if one else 100,
            "is_up": up.get(key, 0.0) > 0,
            "active": active.get(key, 0.0),
            "idle": idle.get(key, 0.0),
            "failures": failures.get(key, 0.0),
            "retries": retries.get(key, 0.0),
            "buckets": _pairs(took.get(key, Times({}, 0.0)), places),
        }


def _pairs(times: Times, places: Mapping[float, int]) -> list[tuple[int, float]]:
    return [(places[bound], calls) for bound, calls in sorted(times.buckets.items()) if calls]
