"""A gateway as its worker takes it: compiled, with the snapshot for the engine and the hooks beside it."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from headgate.config.errors import ConfigError
from headgate.control.messages import Change

if TYPE_CHECKING:
    from pathlib import Path  # which `headgate proxy` starts without

    from headgate._parts import Parts
    from headgate.background.background import Background
    from headgate.compile.names import Names
    from headgate.compile.order import Compiled
    from headgate.compile.sources import Sources
    from headgate.config.listeners import ListenerConfig, TcpListenerConfig
    from headgate.config.model import GatewayConfig
    from headgate.gateway import Gateway
    from headgate.listener import Listener, StreamListener


LARGE = 1000
"""Routes of a document whose lines are looked for only when something in it is wrong."""


class Loaded(NamedTuple):
    """A gateway ready for its worker."""

    snapshot: str
    hooks: Sequence[Any]
    listeners: list[str]
    workers: int | None
    drain_s: float
    log_format: str
    log_level: str
    startup: Sequence[Any]
    shutdown: Sequence[Any]
    server_state: Sequence[Any] = ()
    watchdog_s: float | None = 0.1
    """Python code that blocks the loop for longer is logged."""
    modes: dict[str, int] = {}
    """Permissions of Unix sockets, by address."""
    places: dict[str, str] = {}
    """The line that said it, by address, for what the system says of addresses."""
    kill_s: float | None = 30.0
    """A worker that does not respond for so long is killed and replaced."""
    max_draining: int = 16
    """Former versions that drain at most."""
    background: "Background | None" = None
    """What it does beside requests; none for what holds no code."""
    refused: Callable[[str], ConfigError] = ConfigError
    """What the engine says of the snapshot, as an error about the user's file."""
    names: "Names | None" = None
    """What its hooks and plugins are called, for processes that have loaded the same; none for what holds no code."""
    sources: "Sources | None" = None
    """The files that its code is of."""
    described: dict[str, Any] = {}
    """What is told to such processes; `error` in it says why nothing can be."""
    metrics: list[str] = []
    """Where metrics are served."""
    statsd: dict[str, Any] = {}
    """Where metrics are sent."""
    log_to: str = "stderr"
    """Where the error log goes; a file by its whole path."""
    ships_logs: bool = False
    """Whether each request is to be written for the shipper."""
    plans: dict[str, Any] = {}
    """What the `monitor` of the node is to watch, the `shipper` to send, and the `tunnel` broker to let in."""

    @property
    def told(self) -> bytes:
        """What workers that run are told of it: a line of JSON, and behind it the snapshot, which only engines read."""
        told = {"watchdog_s": self.watchdog_s, "plans": self.plans, **self.described}
        # half a character pair is for the engine to refuse
        return json.dumps(told).encode() + b"\n" + self.snapshot.encode("utf-8", "surrogatepass")

    @property
    def change(self) -> Change:
        """What changes beside the snapshot where it is applied in place."""
        return Change(
            drain_s=self.drain_s,
            kill_s=self.kill_s,
            max_draining=self.max_draining,
            log_format=self.log_format,
            log_level=self.log_level,
            log_to=self.log_to,
            ships_logs=self.ships_logs,
        )


def compiled(gateway: "Gateway", made: "Compiled | None" = None) -> Loaded:
    """What a `Gateway` comes to; raises ConfigError if it does not fit together."""
    from headgate.compile.order import compile_gateway

    made = made or compile_gateway(gateway)
    config = made.config
    if not made.addresses:
        raise ConfigError(
            "the gateway has no listeners", hint='write `gate.listen(":8080")` or `listeners: ":8080"`'
        )
    return Loaded(
        snapshot=made.snapshot,
        hooks=made.hooks,
        listeners=list(made.addresses),
        workers=made.workers,
        drain_s=config.timeouts.drain,
        log_format=config.error_log.format,
        log_level=config.error_log.level,
        log_to=log_place(config.error_log.to, gateway._parts.folder),
        startup=made.startup,
        shutdown=made.shutdown,
        server_state=made.server_state,
        watchdog_s=config.watchdog.log,
        kill_s=config.watchdog.kill,
        max_draining=config.limits.max_draining_generations,
        modes=_modes(config),
        places=_places(gateway),
        metrics=[config.metrics.listen] if config.metrics and config.metrics.listen else [],
        statsd=config.metrics.statsd.model_dump() if config.metrics and config.metrics.statsd else {},
        refused=made.refused,
        ships_logs=bool(config.log_targets),
        plans=_plans(config, gateway._parts),
    )


def _plans(config: "GatewayConfig", parts: "Parts") -> dict[str, Any]:
    """What the processes beside the workers are to do, and where they log."""
    from headgate.config.log_targets import shipping_plan
    from headgate.config.monitored import monitor_plan
    from headgate.config.pull import dispatch_plan
    from headgate.config.tunnels import tunnel_plan

    folder = parts.folder
    log = {**config.error_log.model_dump(), "to": log_place(config.error_log.to, folder)}
    plans = {
        "monitor": monitor_plan(config, folder, parts.found),
        "shipper": shipping_plan(config, folder),
        "tunnel": tunnel_plan(config),
        "dispatcher": dispatch_plan(config, parts.file or folder),
    }
    return {name: {**plan, "log": log} for name, plan in plans.items() if plan}


def _modes(config: "GatewayConfig") -> dict[str, int]:
    listeners: list[ListenerConfig | TcpListenerConfig] = [*config.listeners, *config.tcp]
    return {listener.address: listener.mode for listener in listeners if listener.mode is not None}


def _places(gateway: "Gateway") -> dict[str, str]:
    """The lines of the listeners; none for a document so large that looking for lines takes long."""
    parts = gateway._parts
    if parts.document is not None and len(parts.routes) > LARGE:
        return {}
    streams: list[Listener | StreamListener] = [*parts.listeners, *parts.tcp]
    found = {one.config.address: one.where for one in streams}
    found |= {f"udp:{one.config.address}": one.where for one in parts.udp}
    found |= {f"http3:{one.config.address}": one.where for one in parts.listeners if one.config.http3}
    return {address: str(where) for address, where in found.items() if where}


def log_place(to: str, folder: "Path") -> str:
    """Where a log goes, a file's path made whole by the folder of the configuration."""
    return f"file:{folder / to.removeprefix('file:')}" if to.startswith("file:") else to
