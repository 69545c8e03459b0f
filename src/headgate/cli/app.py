"""Puts the commands together."""

import typer

from headgate.cli import inspecting, looking, managing, serving
from headgate.cli.failing import EXIT_CODES

app = typer.Typer(
    name="headgate",
    help="The gateway you program in Python: reverse proxy and load balancer.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(serving.proxy)
app.command()(serving.run)
app.command()(inspecting.check)
app.command()(inspecting.routes)
app.add_typer(inspecting.config)
app.command()(managing.status)
app.command()(looking.inspect)
app.command()(managing.reload)
app.command()(managing.stop)
app.command()(managing.upgrade)
app.command()(inspecting.version)
