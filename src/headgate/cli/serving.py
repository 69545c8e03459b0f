"""The commands that serve: `proxy` and `run`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from headgate.cli.failing import OK, USAGE, fail

if TYPE_CHECKING:
    from headgate.process.spawn import Process

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
LogFormat = Annotated[
    str | None, typer.Option(help="Error log: `text` or `json`.", envvar="HEADGATE_LOG_FORMAT")
]
LogLevel = Annotated[
    str | None,
    typer.Option(help="Error log: `debug`, `info`, `warning` or `error`.", envvar="HEADGATE_LOG_LEVEL"),
]


def proxy(
    context: typer.Context,
    listen: Annotated[
        str, typer.Argument(help="`:8080`, `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/x.sock`.")
    ],
    to: Annotated[
        list[str], typer.Option(help="A server: `localhost:9000` or `http://host:port`; may be repeated.")
    ],
    workers: Workers = None,
    access_log: Annotated[
        str | None,
        typer.Option(help="Log each request to stdout: `json`, `combined` or a format with `{fields}`."),
    ] = None,
    pid_file: PidFile = None,
    user: User = None,
    group: Group = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
) -> None:
    """Forward everything that comes in at LISTEN to one or more servers; needs no file."""
    _serve(
        context.obj,
        {"proxy": {"listen": listen, "to": to, "access_log": access_log}},
        workers=workers,
        pid_file=pid_file,
        user=user,
        group=group,
        log_format=log_format,
        log_level=log_level,
    )


def run(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="`gate.py`, or a `.yaml`, `.toml` or `.json` configuration.")],
    workers: Workers = None,
    pid_file: PidFile = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Reload when a file changes; for development.")
    ] = False,
    user: User = None,
    group: Group = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
) -> None:
    """Run the gateway that FILE describes, until it is stopped."""
    file = file.absolute()
    if not file.is_file():
        fail(f"there is no file `{file}`", USAGE)
    _serve(
        context.obj,
        {"file": str(file)},
        workers=workers,
        pid_file=pid_file,
        watch=str(file.parent) if reload else None,
        user=user,
        group=group,
        log_format=log_format,
        log_level=log_level,
    )


def _serve(first: "Process | None", source: dict[str, Any], **options: Any) -> NoReturn:
    from headgate import log
    from headgate.process.privileges import resolve
    from headgate.process.settings import Settings, accept_mode
    from headgate.process.supervisor import Supervisor

    try:
        log.configure(options["log_format"] or "text", options["log_level"] or "info")
        settings = Settings(source=source, accept_mode=accept_mode(), **_absolute(options))
        resolve(settings.user, settings.group)
    except (ValueError, LookupError) as error:
        fail(str(error.args[0]), USAGE)
    if (settings.user or settings.group) and os.geteuid() != 0:
        fail("--user and --group need root", USAGE)
    if settings.watch:
        from headgate.process.watching import reload_on_changes

        try:
            reload_on_changes(settings.watch)
        except ImportError:
            fail("--reload needs watchfiles\n  hint: pip install 'headgate[reload]'", USAGE)
    supervisor = Supervisor(settings, first)
    code = supervisor.run()
    if supervisor.failure:
        fail(supervisor.failure, code)
    raise SystemExit(OK if code == 0 else code)


def _absolute(options: dict[str, Any]) -> dict[str, Any]:
    pid_file = options["pid_file"]
    return {**options, "pid_file": str(pid_file.absolute()) if pid_file else None}
