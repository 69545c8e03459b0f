"""The commands that look at a file and run nothing: `check`, `routes`, `records`, `config`; and `version`."""

import enum
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from headgate.cli import checking
from headgate.cli.checking import refusing

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
    checking.check(file=file, strict=strict)


def routes(
    file: File,
    test: Annotated[
        str | None,
        typer.Option(
            help="A request such as `GET https://example.com/x`: which route takes it, and why not the others."
        ),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(help="A header field of that request, `name: value`; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The verdicts, for programs.")] = False,
) -> None:
    """List the routes of FILE, or test which of them takes a request.

    What a test says comes from the engine's router. Hooks and functions of routes do not run. It ends with 1 if no
    route takes the request.
    """
    with refusing():
        from headgate.compile.loading import load
        from headgate.compile.order import compile_gateway
        from headgate.compile.resources import as_with_an_empty_store

        gateway = as_with_an_empty_store(load(file))
        snapshot = compile_gateway(gateway).snapshot
        if test:
            from headgate.cli.route_tests import test_routes

            return test_routes(snapshot, test, header or [], as_json=as_json)
    from headgate.cli.tables import print_routes

    print_routes(gateway.config)


def records(file: File) -> None:
    """Print the DNS records by which clients learn that FILE's listeners speak HTTP/3.

    HTTPS records (RFC 9460), one a line, as zone files have them. Publish them once UDP gets through to the gateway.
    """
    with refusing():
        from headgate.compile.https_records import https_records
        from headgate.compile.loading import load
        from headgate.compile.resources import as_with_an_empty_store

        lines = https_records(as_with_an_empty_store(load(file)).config)
    for line in lines:
        print(line)


@config.command()
def show(
    file: File,
    format: Annotated[Format, typer.Option("--format", "-f", help="How it is written.")] = Format.YAML,
) -> None:
    """Print the whole configuration that FILE comes to, defaults included."""
    with refusing():
        from headgate.compile.loading import load
        from headgate.compile.resources import shown_alone

        content = shown_alone(load(file))
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
