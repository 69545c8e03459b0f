"""Puts the commands together."""

from typing import Annotated

import typer

from headgate.cli import (
    applying,
    following,
    inspecting,
    looking,
    managing,
    pgwatching,
    profiling,
    pulling,
    replaying,
    resources,
    serving,
    tracing,
    trusting,
    tunnelling,
    watching,
)
from headgate.cli.failing import EXIT_CODES, OK

app = typer.Typer(
    name="headgate",
    help="A reverse proxy and load balancer that you program in Python.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        inspecting.version()
        raise SystemExit(OK)


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """A reverse proxy and load balancer that you program in Python."""


app.command()(serving.proxy)
app.command()(serving.run)
app.command()(inspecting.check)
app.command()(inspecting.routes)
app.command()(inspecting.records)
app.add_typer(inspecting.config)
app.command()(managing.status)
app.command()(looking.inspect)
app.command()(watching.top)
app.command()(following.logs)
app.command()(tracing.trace)
app.command()(profiling.profile)
app.command()(managing.reload)
app.command()(managing.stop)
app.command()(managing.upgrade)
app.add_typer(pgwatching.pgwatch)
app.command()(resources.get)
app.command()(resources.edit)
app.command()(resources.delete)
app.command()(applying.apply)
app.command()(applying.diff)
app.command()(applying.history)
app.command()(applying.rollback)
app.command()(applying.compact)
app.command()(managing.server)
app.command()(trusting.trust)
app.command()(tunnelling.tunnel)
app.add_typer(pulling.pull)
app.command()(replaying.replay)
app.command()(inspecting.version)
