"""Directories that a configuration needs to be there when the gateway starts: told by `headgate check`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from urllib.parse import unquote

from headgate.config.errors import Path, Problem
from headgate.config.model import GatewayConfig
from headgate.gateway import Gateway

FILE, SOCKET, SYSLOG = "file:", "unix:", "syslog:/"


def missing_directories(gateway: Gateway, config: GatewayConfig) -> Iterator[Problem]:
    """Log files and Unix sockets in directories that do not exist, and log files that are directories: what `run` ends
    at.
    """
    folder = gateway._parts.folder
    for path, place in _places(config):
        is_log, file = place.startswith(FILE), folder / place.partition(":")[2]
        what = "the log file" if is_log else "the socket"
        where = gateway._parts.locate(path)
        if not file.parent.is_dir():
            yield Problem(
                f"{what} `{place}` cannot be made: the directory `{file.parent}` does not exist",
                f"create it with `mkdir -p {file.parent}`",
                where,
                path,
            )
        elif is_log and file.is_dir():
            yield Problem(
                f"{what} `{place}` is a directory",
                f"name a file: `{place.rstrip('/')}/gate.log`",
                where,
                path,
            )


def absent_places(gateway: Gateway, config: GatewayConfig) -> Iterator[Problem]:
    """What is not there yet, and what `run` does without meanwhile: sockets of syslog, the folders of stores."""
    for path, place in (
        (("access_log", "to"), config.access_log and config.access_log.to),
        (
            ("error_log", "to"),
            config.error_log.to,
        ),
    ):
        if place and place.startswith(SYSLOG) and not FilePath(place.removeprefix("syslog:")).exists():
            yield Problem(
                f"the log is lost: the socket of `{place}` does not exist",
                "name the system's, usually `syslog:/dev/log`, and see that its syslog runs",
                gateway._parts.locate(path),
                path,
            )
    url = config.store.get_secret_value() if config.store else ""
    scheme, _, rest = url.partition(":")
    file = FilePath(unquote(rest).removeprefix("//"))
    folder = {"sqlite": file.parent, "files": file}.get(scheme)
    if folder is not None and not (gateway._parts.folder / folder).is_dir():
        yield Problem(
            f"the store `{url}` cannot be opened: the directory `{folder}` does not exist",
            f"create it with `mkdir -p {folder}`",
            gateway._parts.locate(("store",)),
            ("store",),
        )


def _places(config: GatewayConfig) -> Iterator[tuple[Path, str]]:
    places: list[tuple[Path, str | None]] = [
        (("access_log", "to"), config.access_log.to if config.access_log else None),
        (("error_log", "to"), config.error_log.to),
        (("metrics", "listen"), config.metrics.listen if config.metrics else None),
        (("admin", "listen"), config.admin.listen if config.admin else None),
    ]
    places += [(("listeners", at, "address"), one.address) for at, one in enumerate(config.listeners)]
    places += [(("tcp", at, "address"), one.address) for at, one in enumerate(config.tcp)]
    for path, place in places:
        if place and place.startswith((FILE, SOCKET)):
            yield path, place
