"""`headgate check`: loads a file as `run` would. Without typer, whose import takes longer than checking most files."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from headgate.cli.failing import USAGE, fail


def check(*, file: str | os.PathLike[str], strict: bool) -> None:
    """Loads and validates a file, and tells the warnings; ends the program with an error if it is refused."""
    with refusing():
        from headgate import _core
        from headgate.compile.directories import missing_directories
        from headgate.compile.lint import lint, look_up
        from headgate.compile.loading import load
        from headgate.compile.order import compile_gateway
        from headgate.compile.resources import as_with_an_empty_store
        from headgate.config.errors import ConfigError
        from headgate.worker.loaded import compiled

        gateway = as_with_an_empty_store(load(file))
        made = compile_gateway(gateway)
        loaded = compiled(gateway, made)
        if missing := [*missing_directories(gateway, made.config)]:
            raise ConfigError(missing)
        warnings = [*lint(gateway, look_up if strict else None, config=made.config)]
        del gateway, made  # which may be large, and the engine builds its own
        try:
            _core.check(loaded.snapshot)
        except ValueError as error:
            raise loaded.refused(str(error)) from error
    for problem in warnings:
        print(f"warning: {problem}", file=sys.stderr)
    if strict and warnings:
        fail(f"{os.fspath(file)}: {len(warnings)} warning{'s' if len(warnings) > 1 else ''}", USAGE)
    print(f"{os.fspath(file)}: ok; listens on {', '.join(loaded.listeners)}", file=sys.stderr)


@contextmanager
def refusing() -> Iterator[None]:
    """Ends the command with the configuration's own words when it is refused."""
    from headgate.config.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        fail(str(error), USAGE)
