"""Where a running gateway can be found: the runtime directory and its control socket.

How it works: each supervisor listens on `<runtime directory>/<pid>.sock` and replies there
(see `commands`). Nothing is written that could go stale: a socket on which
nothing listens belongs to a gateway that has exited, and is removed.
"""

import contextlib
import os
import socket
import stat

from headgate._digits import whole_number

ENDING = ".sock"

AnyPath = str | os.PathLike[str]


class NotRunning(LookupError):
    """No running gateway was found."""


class Ambiguous(LookupError):
    """Several gateways run, and the caller did not say which is meant."""


def place(given: AnyPath | None = None) -> str:
    """The directory of control sockets, whether it is there or not.

    `given`, else `HEADGATE_RUNTIME_DIR`, else systemd's `RUNTIME_DIRECTORY`, else /run/headgate for root, else
    `$XDG_RUNTIME_DIR/headgate`, else /tmp/headgate-<uid>.
    """
    uid = os.geteuid()
    environment = os.environ
    if given:
        return os.fspath(given)
    if path := environment.get("HEADGATE_RUNTIME_DIR"):
        return path
    if systemd := environment.get("RUNTIME_DIRECTORY"):
        return systemd.split(":")[0]
    if uid == 0:
        return "/run/headgate"
    if user := environment.get("XDG_RUNTIME_DIR"):
        return f"{user}/headgate"
    return f"/tmp/headgate-{uid}"


def made() -> str:
    """That directory for a supervisor: made if missing, readable by its owner only.

    Raises PermissionError if it belongs to another user.
    """
    path = place()
    os.makedirs(path, mode=0o700, exist_ok=True)
    _check_owner(path, {os.geteuid(), 0})
    return path


def _check_owner(path: str, owners: set[int]) -> None:
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
        raise PermissionError(
            f"runtime directory `{path}` belongs to another user\n  hint: set HEADGATE_RUNTIME_DIR"
        )


def control_socket_path(folder: str, pid: int) -> str:
    """The control socket of the supervisor with this process id."""
    return f"{folder}/{pid}{ENDING}"


def running(folder: str | None = None) -> list[int]:
    """The process ids of the gateways that reply in `folder`; removes the sockets of those that do not.

    Raises PermissionError if the folder belongs to another user; root may look into anybody's.
    """
    folder = folder or place()
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    if os.geteuid() != 0:
        _check_owner(folder, {os.geteuid(), 0})
    pids = []
    for name in names:
        pid = whole_number(name.removesuffix(ENDING))
        if pid is None or not name.endswith(ENDING):
            continue
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(f"{folder}/{name}")
                pids.append(pid)
            except ConnectionRefusedError:
                with contextlib.suppress(OSError):
                    os.unlink(f"{folder}/{name}")
            except OSError:
                pass
    return sorted(pids)


def find(folder: str, pid: int | None = None, pid_file: AnyPath | None = None) -> int:
    """The process id of the gateway that is meant; the only one that runs if neither argument is given."""
    alive = running(folder)
    if pid_file is not None:
        try:
            pid = read_pid_file(pid_file)
        except (OSError, ValueError):
            raise NotRunning(
                f"no process id in `{os.fspath(pid_file)}`\n  hint: is the gateway running?"
            ) from None
    if pid is not None:
        if pid not in alive:
            raise NotRunning(f"no gateway runs as process {pid}{_elsewhere(folder)}")
        return pid
    if not alive:
        hint = _elsewhere(folder) or "\n  hint: `headgate run FILE` starts one"
        raise NotRunning(f"no gateway is running{hint}")
    if len(alive) > 1:
        raise Ambiguous(f"several gateways run: {', '.join(map(str, alive))}\n  hint: name one with --pid")
    return alive[0]


def _elsewhere(folder: str) -> str:
    """For root, a hint of where gateways of other users are."""
    if os.geteuid() != 0:
        return ""
    candidates = [
        "/run/headgate",
        *(f"/tmp/{name}" for name in sorted(_names("/tmp")) if name.startswith("headgate-")),
        *(f"/run/user/{name}/headgate" for name in sorted(_names("/run/user"))),
    ]
    found = [other for other in candidates if other != folder and running(other)]
    return (
        f"\n  hint: gateways of other users: {', '.join(f'--runtime-dir {one}' for one in found)}"
        if found
        else ""
    )


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def read_pid_file(path: AnyPath) -> int:
    """The process id in a pid file; raises OSError or ValueError."""
    with open(path) as file:
        return int(file.read())
