"""How checks are made, by their type."""

from __future__ import annotations

from headgate.monitor.checker import Probe
from headgate.monitor.target import Target


def made_probe(target: Target, folder: str) -> Probe:
    """The probe of a target; raises `OSError` or `ValueError` for files of TLS that cannot be used."""
    # each is loaded when it is needed: most monitors need one
    check = target.check
    match check["type"]:
        case "http" if check["protocol"] == "http1":
            from headgate.monitor.probes.http1 import HttpProbe

            return HttpProbe(target)
        case "http":
            from headgate.monitor.probes.http2 import check_http2 as coroutine
        case "grpc":
            from headgate.monitor.probes.http2 import check_grpc as coroutine
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
    from headgate.monitor.probes.task import TaskProbe

    return TaskProbe(target, coroutine)
