"""The commands that look at a file and run nothing: `check`, `routes`, `config`; and `version`."""

import enum
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from headgate.cli.failing import USAGE, fail

File = Annotated[Path, typer.Argument(help="`gate.py`, or a `.yaml`, `.toml` or `.json` configuration.")]

config = typer.Typer(name="config", help="Show a configuration, or the schema of all.", no_args_is_help=True)


class Format(enum.StrEnum):
    """How a configuration is written."""

    YAML = "yaml"
    JSON = "json"


def check(
    file: File,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Treat warnings as errors, and resolve the host names of servers."),
    ] = False,
) -> None:
    """Load and validate FILE, as `run` would, and report errors."""
    with _refusing():
        from headgate import _core
        from headgate.compile.lint import lint, look_up
        from headgate.compile.loading import load
        from headgate.worker.loaded import compiled

        gateway = load(file)
        loaded = compiled(gateway)
        warnings = [*lint(gateway, look_up if strict else None)]
        del gateway  # which may be large, and the engine builds its own
        try:
            _core.check(loaded.snapshot)
        except ValueError as error:
            raise loaded.refused(str(error)) from error
    for problem in warnings:
        print(f"warning: {problem}", file=sys.stderr)
    if strict and warnings:
        fail(f"{file}: {len(warnings)} warning{'s' if len(warnings) > 1 else ''}", USAGE)
    print(f"{file}: ok; listens on {', '.join(loaded.listeners)}", file=sys.stderr)


def routes(file: File) -> None:
    """List the routes of FILE."""
    with _refusing():
        from headgate.compile.loading import load
        from headgate.compile.order import compile_gateway

        gateway = load(file)
        compile_gateway(gateway)
    from headgate.cli.tables import print_routes

    print_routes(gateway.config)


@config.command()
def show(
    file: File,
    format: Annotated[Format, typer.Option("--format", "-f", help="How it is written.")] = Format.YAML,
) -> None:
    """Print the whole configuration that FILE comes to, defaults included."""
    with _refusing():
        from headgate.compile.loading import load
        from headgate.compile.masking import shown

        content = shown(load(file).config)
    print(_written(content, format), end="")


@config.command()
def schema() -> None:
    """Print the JSON Schema of configuration files, for editors."""
    from headgate.config import json_schema

    print(json.dumps(json_schema(), indent=2))


def version() -> None:
    """Print the version, and the cryptographic module in use."""
    from headgate import __version__, _core

    module, is_fips = _core.tls_module()
    print(f"headgate {__version__}\ntls module={module} fips={str(is_fips).lower()}")


def _written(content: Any, format: Format) -> str:
    if format is Format.JSON:
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    import yaml

    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


@contextmanager
def _refusing() -> Iterator[None]:
    """Ends the command with the configuration's own words when it is refused."""
    from headgate.config.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        fail(str(error), USAGE)
