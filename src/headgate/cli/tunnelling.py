"""The command that exposes local servers through a gateway elsewhere: `tunnel`."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from headgate.cli.failing import FAILURE, USAGE, fail


def tunnel(
    to: Annotated[
        str,
        typer.Option("--to", help="Where the gateway takes tunnels: `https://gateway.example.com/_tunnel`."),
    ],
    expose: Annotated[
        list[str],
        typer.Option(
            "--expose", help="A name, and the server that it stands for: `home=localhost:8888`; repeatable."
        ),
    ],
    token: Annotated[
        str,
        typer.Option(
            "--token", envvar="HEADGATE_TUNNEL_TOKEN", help="The token, or `env:NAME`, or `file:/path`."
        ),
    ],
    connections: Annotated[int, typer.Option(min=1, max=64, help="Tunnels that are kept open.")] = 1,
    beside: Annotated[
        int,
        typer.Option(
            min=0,
            max=1024,
            help="Connections for each name at most that requests go on without the tunnel's frames.",
        ),
    ] = 32,
    ca: Annotated[
        str | None, typer.Option(help="A PEM file with the authority of the gateway's certificate.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Allow `http://`: the token is sent in the clear.")
    ] = False,
    log_format: Annotated[str, typer.Option(help="`text` or `json`.")] = "text",
) -> None:
    """Expose local servers as servers of a gateway's upstreams, through connections that are dialled from here.

    Runs until Ctrl-C, and dials again when a connection is lost.
    """
    from headgate import log
    from headgate.config.errors import ConfigError
    from headgate.config.secrets import resolved
    from headgate.tunnel.target import exposed, place

    try:
        targets = dict(map(exposed, expose))
        where, secret = place(to, is_plain_allowed=plain), resolved(token)
    except (ValueError, ConfigError) as error:
        fail(str(error), USAGE)
    if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
        fail("the token is not printable ASCII text without spaces", USAGE)
    if len(targets) < len(expose):
        fail("a name is exposed twice", USAGE)
    log.configure(log_format, "info")
    import ssl

    context = None
    if where.is_secure:
        try:
            context = ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            fail(f"`{ca}` cannot be read: {error}", USAGE)
        context.set_alpn_protocols(["http/1.1"])
    from headgate.tunnel.client import Client
    from headgate.tunnel.handshake import Refused

    client = Client(where, secret, targets, context=context, connections=connections, most_reversed=beside)
    try:
        asyncio.run(_until_stopped(client.run))
    except Refused as error:
        fail(f"the gateway refuses the tunnel: {error.reason}{error.hint}", FAILURE)


async def _until_stopped(run: Callable[[], Awaitable[None]]) -> None:
    """Until a signal asks for the end."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(run())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
