"""What people send logs and traces to: VictoriaLogs, which takes Loki's push API, and OpenTelemetry's collector.

`tools/services.sh` builds VictoriaLogs with Go. The collector takes longer: whoever wants its tests builds it
(`BUILD_COLLECTOR`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .net import free_port
from .origin import Origin
from .services import HINT, wait_for_port


def program(name: str) -> str | None:
    """Where Go has installed a program."""
    go = os.environ.get("GOPATH") or str(Path.home() / "go")
    folders = [os.environ.get("GOBIN", ""), f"{go}/bin"]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(filter(None, folders)))


@dataclass(frozen=True)
class VictoriaLogs:
    """A running one."""

    address: str

    @property
    def push(self) -> str:
        """Where it takes Loki's push API; it shows the target as the message of a line."""
        return f"http://{self.address}/insert/loki/api/v1/push?_msg_field=target"

    def query(self, query: str) -> list[dict[str, str]]:
        """The lines that a query of LogsQL finds, as fields, in the order of their times."""
        text = _get(f"http://{self.address}/select/logsql/query", {"query": f"{query} | sort by (_time)"})
        return [json.loads(line) for line in text.splitlines()]


@contextlib.contextmanager
def victoria_logs(folder: Path, port: int = 0) -> Iterator[VictoriaLogs]:
    """A VictoriaLogs that keeps its data in that folder."""
    port = port or free_port()
    options = [f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder}/data", "-loggerLevel=WARN"]
    with running([_needed("victoria-logs"), *options], folder / "victoria-logs.log", port):
        yield VictoriaLogs(f"127.0.0.1:{port}")


@dataclass(frozen=True)
class Span:
    """A span as the collector passes it on."""

    trace: str
    id: str
    parent: str
    """Empty: it has none."""
    name: str
    kind: int
    """2: of a server, 3: of a client, 1: internal."""
    service: str
    start_ns: int
    end_ns: int
    attributes: dict[str, str | int]
    is_error: bool


class Collector:
    """A running collector, which passes on what it has read to a server of the test, as JSON."""

    def __init__(self, sink: Origin) -> None:
        self.otlp = f"http://127.0.0.1:{free_port()}"
        self._sink = sink
        sink.on("/v1/traces", lambda call: (call.read_body(), call.respond(b"{}", fields=_JSON)))

    @property
    def spans(self) -> list[Span]:
        """All so far, in the order of their begins."""
        bodies = [json.loads(call.read_body()) for call in self._sink.at("/v1/traces")]
        found = [
            _span(span, resource)
            for body in bodies
            for resource in body["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]
        return sorted(found, key=lambda span: (span.start_ns, span.name))


_JSON = [("Content-Type", "application/json")]
_CONFIG = """
service:
  pipelines: {{traces: {{receivers: [otlp], exporters: [otlphttp]}}}}
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
receivers: {{otlp: {{protocols: {{http: {{endpoint: "{otlp}"}}}}}}}}
exporters:
  otlphttp:
    traces_endpoint: "http://{sink}/v1/traces"
    encoding: json
    compression: none
    sending_queue: {{enabled: false}}
"""


@contextlib.contextmanager
def collector(folder: Path, sink: Origin) -> Iterator[Collector]:
    """OpenTelemetry's collector, whose receiver of OTLP many others have within."""
    made = Collector(sink)
    address = made.otlp.removeprefix("http://")
    (folder / "otelcol.yaml").write_text(_CONFIG.format(otlp=address, sink=sink.address))
    found = collector_program()
    if found is None:
        raise RuntimeError(f"no collector here; hint: {BUILD_COLLECTOR}")
    command = [str(found), "--config", f"file:{folder}/otelcol.yaml"]
    with running(command, folder / "otelcol.log", int(address.rpartition(":")[2])):
        yield made


COLLECTOR = "otelcol-0.140.0"
BUILD_COLLECTOR = f"go -C tests/e2e/kit/otelcol build -ldflags=-s -o ~/.cache/headgate-tests/{COLLECTOR} ."


def collector_program() -> Path | None:
    """Where the collector is, if somebody has built it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = cache / "headgate-tests" / COLLECTOR
    return built if built.exists() else None


def _span(one: dict[str, Any], resource: dict[str, Any]) -> Span:
    (service,) = _attributes(resource["resource"]["attributes"]).values()
    return Span(
        one["traceId"],
        one["spanId"],
        one.get("parentSpanId", ""),
        one["name"],
        one["kind"],
        str(service),
        int(one["startTimeUnixNano"]),
        int(one["endTimeUnixNano"]),
        _attributes(one["attributes"]),
        one["status"].get("code") == 2,
    )


def _attributes(told: list[dict[str, Any]]) -> dict[str, str | int]:
    def plain(value: dict[str, Any]) -> str | int:
        return int(value["intValue"]) if "intValue" in value else str(value.get("stringValue", ""))

    return {one["key"]: plain(one["value"]) for one in told}


def _get(url: str, query: Mapping[str, str]) -> str:
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=20) as response:
        return str(response.read().decode())


@contextlib.contextmanager
def running(command: list[str], log: Path, port: int, *, within: float = 40) -> Iterator[None]:
    """A program that is to listen on a port, until it is left."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        wait_for_port(port, process, log, within=within)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _needed(name: str) -> str:
    found = program(name)
    if found is None:
        raise RuntimeError(f"no {name} here; {HINT}")
    return found
