"""What a worker serves: a file, or the arguments of `headgate proxy`, loaded into what the engine takes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from headgate.config.errors import ConfigError
from headgate.process.settings import usable_cpus

if TYPE_CHECKING:
    from headgate.background.background import Background
    from headgate.gateway import Gateway

Source = dict[str, Any]
"""`{"file": "/path/gate.py"}` or `{"proxy": {"listen": ..., "to": [...], "access_log": ...}}`; plain JSON
data."""


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
    watchdog_s: float | None = 0.1
    """Python code that holds the loop for longer is logged."""
    background: "Background | None" = None
    """What it does beside requests; none for what holds no code."""
    is_data: bool = False
    """Whether it holds no code of the user's, so that a change of it needs no new workers."""


def load(source: Source) -> Loaded:
    """Loads the source; raises ConfigError, or whatever the user's code raises."""
    if "proxy" in source:
        from headgate.process import proxying

        return proxying.quick(source["proxy"]) or compiled(proxying.gateway(source["proxy"]))
    from headgate.loading import load as load_file

    gateway = load_file(source["file"])
    loaded = compiled(gateway)
    has_code = source["file"].endswith(".py") or loaded.hooks or loaded.startup or loaded.shutdown
    if not has_code:
        return loaded._replace(is_data=True)
    gateway.background.configure(gateway.config.background, usable_cpus())
    return loaded._replace(background=gateway.background)


def compiled(gateway: "Gateway") -> Loaded:
    """What a `Gateway` comes to; raises ConfigError if it does not fit together."""
    made = gateway.compile()
    config = made.config
    if not made.addresses:
        raise ConfigError(
            "the gateway listens on nothing", hint='write `gate.listen(":8080")` or `listeners: ":8080"`'
        )
    return Loaded(
        snapshot=made.snapshot,
        hooks=made.hooks,
        listeners=list(made.addresses),
        workers=made.workers,
        drain_s=config.timeouts.drain,
        log_format=config.error_log.format,
        log_level=config.error_log.level,
        startup=made.startup,
        shutdown=made.shutdown,
        watchdog_s=config.watchdog,
    )
