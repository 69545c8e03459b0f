"""Starts a supervisor for `proxy` and `run`, whoever has read the command line."""

import os
from collections.abc import Callable
from typing import Any, NoReturn

from headgate import log
from headgate.cli.failing import OK, USAGE, fail
from headgate.config.start_limit import start_limit_s
from headgate.control.messages import ProxyArguments, Source
from headgate.supervisor.settings import RunSettings, accept_mode
from headgate.supervisor.supervisor import Supervisor
from headgate.supervisor.zygotes import Zygote
from headgate.worker.privileges import resolve


def proxy(
    *,
    listen: str,
    to: list[str],
    access_log: str | None,
    acme: dict[str, str | bool | None] | None = None,
    first: Zygote | None = None,
    **options: Any,
) -> NoReturn:
    """Serves the gateway that needs no file; `acme` says how a certificate for a public name is ordered."""
    if acme is not None:
        from headgate.cli import public_names

        if name := public_names.checked(listen, acme):
            file = public_names.written(name, to, access_log, acme)
            serve(Source(file=str(file)), first=first, **options)
    arguments = ProxyArguments(listen=listen, to=to, access_log=access_log)
    serve(Source(proxy=arguments), first=first, **options)


def run(*, file: str, reload: bool, first: Zygote | None = None, **options: Any) -> NoReturn:
    """Serves the gateway of a file."""
    from pathlib import Path  # which `proxy` starts without

    path = Path(file)
    if not path.is_file():
        fail(f"the file `{path}` does not exist", USAGE)
    path = path.absolute()
    serve(Source(file=str(path)), first=first, watch=str(path.parent) if reload else None, **options)


COMMANDS: dict[str, Callable[..., NoReturn]] = {"proxy": proxy, "run": run}


def serve(
    source: Source,
    *,
    first: Zygote | None,
    workers: int | None,
    pid_file: str | None,
    user: str | None,
    group: str | None,
    log_format: str | None,
    log_level: str | None,
    require_fips: bool = False,
    keep_net_admin: bool = False,
    watch: str | None = None,
) -> NoReturn:
    """Runs the supervisor until it is stopped, and ends the program with its exit code."""
    try:
        log.configure(log_format or "text", log_level or "info")
        resolve(user, group)
        mode = accept_mode()
        start_limit_s()
    except (ValueError, LookupError) as error:
        fail(str(error.args[0]), USAGE)
    if (user or group) and os.geteuid() != 0:
        fail("--user and --group require root", USAGE)
    if keep_net_admin and not user:
        fail("--keep-net-admin has no effect without --user\n  hint: add --user NAME, or remove it", USAGE)
    if pid_file:
        _check_pid_file(pid_file)
    settings = RunSettings(
        source=source,
        workers=workers,
        pid_file=os.path.join(os.getcwd(), pid_file) if pid_file else None,
        user=user,
        group=group,
        keep_net_admin=keep_net_admin,
        log_format=log_format,
        log_level=log_level,
        accept_mode=mode,
        require_fips=require_fips,
    )
    if watch:
        _watch(watch)
    supervisor = Supervisor(settings, first)
    code = supervisor.run()
    if supervisor.failure:
        fail(supervisor.failure, code)
    raise SystemExit(OK if code == 0 else code)


def _check_pid_file(path: str) -> None:
    folder = os.path.dirname(os.path.join(os.getcwd(), path))
    if not os.path.isdir(folder):
        fail(
            f"--pid-file: the directory `{folder}` does not exist\n  hint: create it with `mkdir -p {folder}`",
            USAGE,
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        fail(f"--pid-file: the directory `{folder}` is not writable\n  hint: choose another one", USAGE)


def _watch(folder: str) -> None:
    from headgate.supervisor.watching import reload_on_changes

    try:
        reload_on_changes(folder)
    except ImportError:
        fail("--reload needs watchfiles\n  hint: pip install 'headgate[reload]'", USAGE)
