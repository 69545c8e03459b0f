"""The commands that serve: `proxy` and `run`."""

import os
from pathlib import Path
from typing import Annotated

import typer

Workers = Annotated[
    int | None,
    typer.Option("--workers", "-w", min=1, max=1024, help="Worker processes.  [default: one for each CPU]"),
]
PidFile = Annotated[
    Path | None, typer.Option(help="Write the supervisor's process id to this file.", dir_okay=False)
]
User = Annotated[
    str | None, typer.Option(help="Run the workers as this user; the listeners are bound before.")
]
Group = Annotated[str | None, typer.Option(help="Run the workers as this group.")]
KeepNetAdmin = Annotated[
    bool,
    typer.Option(
        "--keep-net-admin",
        help="Keep CAP_NET_ADMIN when `--user` drops the rest, for upstreams with `source: client`.",
    ),
]
LogFormat = Annotated[
    str | None, typer.Option(help="Error log: `text` or `json`.", envvar="HEADGATE_LOG_FORMAT")
]
LogLevel = Annotated[
    str | None,
    typer.Option(help="Error log: `debug`, `info`, `warning` or `error`.", envvar="HEADGATE_LOG_LEVEL"),
]
RequireFips = Annotated[
    bool,
    typer.Option(
        "--require-fips", help="Refuse to start unless the cryptographic module is the FIPS-validated one."
    ),
]


def proxy(
    listen: Annotated[
        str,
        typer.Argument(
            help="`:8080`, `127.0.0.1:8080`, `[::1]:8080`, `unix:/run/x.sock`, `https://localhost:8443` with a "
            "certificate for development, or `https://example.com` with one of Let's Encrypt."
        ),
    ],
    to: Annotated[
        list[str], typer.Option(help="A server: `localhost:9000` or `https://host:port`; may be repeated.")
    ],
    workers: Workers = None,
    access_log: Annotated[
        str | None,
        typer.Option(help="Log each request to stdout: `json`, `combined` or a format with `{fields}`."),
    ] = None,
    email: Annotated[
        str | None, typer.Option(help="With a public name: the address for the authority's notices.")
    ] = None,
    staging: Annotated[
        bool,
        typer.Option(
            "--staging", help="With a public name: Let's Encrypt's staging environment, to try things out."
        ),
    ] = False,
    acme_directory: Annotated[
        str | None,
        typer.Option(help="With a public name: another authority: the URL of its directory, or `zerossl`."),
    ] = None,
    acme_ca: Annotated[
        str | None, typer.Option(help="A PEM file with the authority of that directory's own server.")
    ] = None,
    pid_file: PidFile = None,
    user: User = None,
    group: Group = None,
    keep_net_admin: KeepNetAdmin = False,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    require_fips: RequireFips = False,
) -> None:
    """Forward all requests from LISTEN to one or more servers, without a configuration file."""
    from headgate.cli import starting

    acme_ca = acme_ca and os.path.abspath(acme_ca)
    acme = {"email": email, "staging": staging, "directory": acme_directory, "ca": acme_ca}
    starting.proxy(
        acme=acme if "://" in listen or any(acme.values()) else None,
        listen=listen,
        to=to,
        access_log=access_log,
        workers=workers,
        pid_file=str(pid_file) if pid_file else None,
        user=user,
        group=group,
        keep_net_admin=keep_net_admin,
        log_format=log_format,
        log_level=log_level,
        require_fips=require_fips,
    )


def run(
    file: Annotated[Path, typer.Argument(help="`gate.py`, or a `.yaml`, `.toml` or `.json` configuration.")],
    workers: Workers = None,
    pid_file: PidFile = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Reload when a file changes; for development.")
    ] = False,
    user: User = None,
    group: Group = None,
    keep_net_admin: KeepNetAdmin = False,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    require_fips: RequireFips = False,
) -> None:
    """Run the gateway that FILE describes, until it is stopped."""
    from headgate.cli import starting

    starting.run(
        file=str(file),
        reload=reload,
        workers=workers,
        pid_file=str(pid_file) if pid_file else None,
        user=user,
        group=group,
        keep_net_admin=keep_net_admin,
        log_format=log_format,
        log_level=log_level,
        require_fips=require_fips,
    )
