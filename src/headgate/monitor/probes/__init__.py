"""How checks are made, by their type."""

from __future__ import annotations

from functools import partial

from headgate.monitor.checker import Probe
from headgate.monitor.probes.task import Check, TaskProbe
from headgate.monitor.target import Target


def made_probe(target: Target, folder: str) -> Probe:
    """The probe of a target; raises `OSError` or `ValueError` for files of TLS that cannot be used."""
    # each is loaded when it is needed: most monitors need one
    check = target.check
    coroutine: Check
    match check["type"]:
        case "http" if check["protocol"] == "http1":
            from headgate.monitor.probes.http1 import HttpProbe

            return HttpProbe(target)
        case "http" | "grpc" as kind:
            if check["protocol"] == "h3":
                from headgate.monitor.probes.http3 import ask
            else:
                from headgate.monitor.probes.http2 import ask
            from headgate.monitor.probes.exchange import check_grpc, check_request

            coroutine = partial(check_request if kind == "http" else check_grpc, ask)
        case "tcp" | "tls":
            from headgate.monitor.probes.text import check_text as coroutine
        case "redis":
            from headgate.monitor.probes.databases import check_redis as coroutine
        case "postgres":
            from headgate.monitor.probes.databases import check_postgres as coroutine
        case "mysql":
            from headgate.monitor.probes.databases import check_mysql as coroutine
        case _:
            from headgate.monitor.probes.function import FunctionProbe

            return FunctionProbe(target, folder)
    return TaskProbe(target, coroutine)
