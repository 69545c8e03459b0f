"""`headgate check`: loads a file as `run` would. Without typer, whose import takes longer than checking most files."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headgate.cli.failing import USAGE, fail

INTERRUPTED = 130
"""The exit status after Ctrl-C: 128 and the number of SIGINT."""

if TYPE_CHECKING:
    from headgate.config.model import GatewayConfig


def check(*, file: str | os.PathLike[str], strict: bool) -> None:
    """Loads and validates a file, and tells the warnings; ends the program with an error if it is refused."""
    with refusing():
        from headgate import _core
        from headgate.cli.store_urls import unusable_stores
        from headgate.compile.directories import absent_places, missing_directories
        from headgate.compile.lint import lint
        from headgate.compile.loading import load
        from headgate.compile.order import compile_gateway
        from headgate.compile.resources import as_with_an_empty_store
        from headgate.config.errors import ConfigError
        from headgate.worker.loaded import compiled

        gateway = as_with_an_empty_store(load(file))
        made = compile_gateway(gateway)
        loaded = compiled(gateway, made)
        if wrong := [*missing_directories(gateway, made.config), *unusable_stores(gateway, made.config)]:
            raise ConfigError(wrong)
        warnings = [*lint(gateway, _look_up(made.config) if strict else None, config=made.config)]
        warnings += absent_places(gateway, made.config)
        del gateway, made  # which may be large, and the engine builds its own
        logging.lastResort, logged = _AsWarnings(), logging.lastResort
        try:
            _core.check(loaded.snapshot)
        except ValueError as error:
            raise loaded.refused(str(error)) from error
        finally:
            logging.lastResort = logged
    for problem in warnings:
        print(f"warning: {problem}", file=sys.stderr)
    if strict and warnings:
        fail(f"{os.fspath(file)}: {len(warnings)} warning{'s' if len(warnings) > 1 else ''}", USAGE)
    listeners = [one.replace("http3:", "udp:", 1) for one in loaded.listeners]  # as the log of `run` has it
    print(f"{os.fspath(file)}: ok; listens on {', '.join(listeners)}", file=sys.stderr)


class _AsWarnings(logging.StreamHandler):  # type: ignore[type-arg]
    """Prints what the engine logs while it builds a snapshot in the form of the other warnings."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setLevel(logging.WARNING)
        self.setFormatter(logging.Formatter("warning: %(message)s"))
        # the dates of certificates are among the warnings already, with their files
        self.addFilter(lambda record: not record.getMessage().startswith("the certificate for "))


def _look_up(config: "GatewayConfig") -> Callable[[str], object]:
    """Looks names of servers up as the gateway would."""
    import socket

    from headgate.config.discovered import sought_by
    from headgate.discovery.checking import lookup_by

    found_by_name = lookup_by(config.resolver)

    def look_up(name: str) -> object:
        if name.startswith("srv:") or sought_by(f"{name}:1"):
            return found_by_name(name)
        return socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)

    return look_up


@contextmanager
def refusing() -> Iterator[None]:
    """Ends the command with the configuration's own words when it is refused."""
    from headgate.compile.module import Interrupted
    from headgate.config.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        fail(str(error), USAGE)
    except Interrupted as error:
        fail(str(error), INTERRUPTED)
