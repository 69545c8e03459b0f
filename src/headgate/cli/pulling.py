"""The commands of `headgate pull`: workers that take requests from a gateway when they are idle."""

import importlib
import inspect
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from headgate.cli.failing import FAILURE, USAGE, fail

if TYPE_CHECKING:
    from headgate.pull import Handler

pull = typer.Typer(
    name="pull",
    help="Workers that take requests from a gateway when they are idle.",
    no_args_is_help=True,
)


@pull.callback()
def _pull() -> None:
    """Workers that take requests from a gateway when they are idle."""


@pull.command()
def worker(
    handler: Annotated[
        str,
        typer.Argument(help="The function that serves requests, as `module:function`.", metavar="HANDLER"),
    ],
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            help="A route of the upstream: `https://gateway.example.com/_workers`, `unix:/run/g.sock:/w`. "
            "Several, with `--redis`, if gateways share the workers.",
        ),
    ],
    token: Annotated[
        str,
        typer.Option(
            "--token", envvar="HEADGATE_PULL_TOKEN", help="The token, or `env:NAME`, or `file:/path`."
        ),
    ],
    processes: Annotated[
        int | None, typer.Option(min=1, max=1024, help="The number of processes; default: one per core.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, max=10_000, help="Requests at a time in each process, for coroutines.")
    ] = 1,
    ca: Annotated[
        str | None, typer.Option(help="A PEM file with the authority of the gateway's certificate.")
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(
            envvar="HEADGATE_PULL_REDIS",
            help="Where idle workers announce themselves to several gateways: `redis://host:6379/0`, or `env:NAME`, "
            "or `file:/path`.",
        ),
    ] = None,
    shared_list: Annotated[
        str | None, typer.Option("--list", help="The list there: `list` of the gateways' `pull.shared`.")
    ] = None,
    lease: Annotated[
        float,
        typer.Option(min=1.0, help="Seconds after which an announcement that nobody uses is made anew."),
    ] = 10.0,
    log_format: Annotated[str, typer.Option(help="`text` or `json`.")] = "text",
) -> None:
    """Serve the requests of an upstream with `balance: pull`, one at a time in each process.

    Runs until Ctrl-C, and connects again when the connection is lost.
    """
    from headgate import log
    from headgate.config.errors import ConfigError
    from headgate.config.secrets import resolved
    from headgate.control.cpus import usable_cpus
    from headgate.pull import Worker

    log.configure(log_format, "info")
    context = None
    if ca:
        import ssl

        try:
            context = ssl.create_default_context(cafile=ca)
        except OSError as error:
            fail(f"cannot read the authority `{ca}`: {error}", USAGE)
    try:
        made = Worker(
            to,
            token=resolved(token),
            concurrency=concurrency,
            tls=context,
            redis=resolved(redis) if redis else None,
            shared_list=shared_list,
            lease_s=lease,
        )
    except ImportError:
        fail("`--redis` needs the redis library\n  hint: pip install 'headgate[redis]'", USAGE)
    except (ValueError, ConfigError) as error:
        fail(str(error), USAGE)
    made.handler(_loaded(handler))
    try:
        made.run(processes=usable_cpus() if processes is None else processes)
    except PermissionError as error:
        fail(str(error), FAILURE)


def _loaded(name: str) -> "Handler":
    """The function that `module:function` names, in the current folder as well."""
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        fail(f"`{name}` is not a handler\n  hint: write `module:function`", USAGE)
    sys.path.insert(0, "")
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        fail(
            f"cannot import `{module}`: {error}\n  hint: start it in the folder of `{module}`, or set PYTHONPATH",
            USAGE,
        )
    found = getattr(loaded, function, None)
    if not callable(found):
        from headgate.config.errors import suggestion

        functions = [name for name, one in inspect.getmembers(loaded, inspect.isfunction) if name[0] != "_"]
        hint = suggestion(function, functions) or f"define it in `{module}`"
        fail(f"`{module}` has no function `{function}`\n  hint: {hint}", USAGE)
    handler: Handler = found
    return handler
