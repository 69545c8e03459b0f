"""How commands find the gateway that is meant, and what they say when it cannot be talked to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from headgate.cli.failing import FAILURE, NOT_RUNNING, USAGE, fail
from headgate.control.client import Client, CommandRefused
from headgate.control.records import MessageError
from headgate.control.runtime import Ambiguous, NotRunning

Pid = Annotated[
    int | None, typer.Option(help="The gateway with this supervisor process; needed if several run.")
]
PidFile = Annotated[Path | None, typer.Option(help="The gateway that wrote this pid file.")]
RuntimeDir = Annotated[
    Path | None,
    typer.Option(
        help="The directory of control sockets, for gateways of other users.", envvar="HEADGATE_RUNTIME_DIR"
    ),
]


@contextmanager
def connected(pid: int | None, pid_file: Path | None, runtime_dir: Path | None) -> Iterator[Client]:
    """A client of the gateway that is meant; ends the command with a message if something is wrong."""
    try:
        yield Client.find(folder=runtime_dir, pid=pid, pid_file=pid_file)
    except Ambiguous as error:
        fail(str(error), USAGE)
    except NotRunning as error:
        fail(str(error), NOT_RUNNING)
    except (CommandRefused, MessageError) as error:
        fail(str(error), FAILURE)
    except OSError as error:
        fail(f"cannot talk to the gateway: {error}", FAILURE)
