"""What a test adds to a compiled gateway: servers of its own, and two hooks that only look."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headgate._hook_checks import HookSpec

from .messages import AttemptRecord, ExchangeRecord
from .servers import Fault, Prepared

if TYPE_CHECKING:
    from headgate import Attempt, Request, ResponseView
    from headgate.compile.order import Compiled

WantedServer = tuple[Path, str, str, Prepared]
"""Socket, upstream, address, behaviour."""


class Watch:
    """Notes attempts and ends of requests, by request id."""

    def __init__(self) -> None:
        self.records: dict[str, ExchangeRecord] = {}

    def upstream_request(self, request: Request, attempt: Attempt) -> None:
        """Each attempt, after all other hooks of it."""
        self._of(request).attempts.append(AttemptRecord(attempt.number, attempt.upstream, attempt.server))

    def log(self, request: Request, response: ResponseView) -> None:
        """Each request's end, before all other hooks of it."""
        record = self._of(request)
        record.route, record.upstream, record.status = request.route_name, request.upstream, response.status
        record.state = dict(vars(request.state))
        record.is_done = True

    def _of(self, request: Request) -> ExchangeRecord:
        return self.records.setdefault(request.id, ExchangeRecord())


FOUND_SERVER = {"weight": 1, "max_fails": 0, "fail_timeout": 1, "backup": False, "max_connections": 0}
"""Stands in for the servers of an upstream that are only found while it runs."""


def instrumented(
    compiled: Compiled, watch: Watch, folder: Path, behaviours: Mapping[str, Prepared]
) -> tuple[str, list[HookSpec], list[WantedServer]]:
    """Snapshot and hooks with what the test adds, and the servers that are to be started."""
    snapshot: dict[str, Any] = json.loads(compiled.snapshot)
    hooks = [*compiled.hooks, _spec("upstream_request", watch.upstream_request), _spec("log", watch.log)]
    attempts, ends = len(hooks) - 2, len(hooks) - 1
    snapshot["hooks"]["log"].insert(0, ends)
    for route in snapshot["routes"]:
        lists = route.setdefault("hooks", {})
        lists["log"] = [ends, *lists.get("log", ())]
        lists["upstream_request"] = [*lists.get("upstream_request", ()), attempts]
    snapshot["access_log"] = None
    wanted: list[WantedServer] = []
    known = set()
    for upstream in snapshot["upstreams"]:
        known.add(upstream["name"])
        # the test's servers speak plain HTTP/1.1, whatever those that they stand in for do
        upstream |= {"tls": None, "protocol": "http1", "proxy_protocol": None, "source": None}
        upstream["servers"] = upstream["servers"] or [{**FOUND_SERVER, "address": upstream["name"]}]
        for server in upstream["servers"]:
            known.add(server["address"])
            path = folder / f"{len(wanted)}.sock"
            server |= {"connect": f"unix:{path}", "tls": False}
            behaviour = behaviours.get(server["address"], behaviours.get(upstream["name"], Fault.REFUSE))
            wanted.append((path, upstream["name"], server["address"], behaviour))
    for origin, behaviour in behaviours.items():
        if origin.startswith(("http://", "https://")):
            known.add(origin)
            path = folder / f"{len(wanted)}.sock"
            wanted.append((path, "", origin.rstrip("/"), behaviour))
    if unknown := sorted(set(behaviours) - known):
        raise LookupError(
            f"the gateway has no upstream or server `{unknown[0]}`\n  hint: it has {', '.join(sorted(known)) or 'none'}"
        )
    return json.dumps(snapshot), hooks, wanted


def _spec(phase: str, function: Any) -> HookSpec:
    return HookSpec(phase, function, False, 30_000, "closed", f"headgate.testing:{phase}")
