"""Where a running gateway can be found: the runtime directory, its control socket, its pid file.

How it works: each supervisor listens on `<runtime directory>/<pid>.sock` and answers one line of JSON with
one line of JSON. Nothing is written that could go stale: a socket nobody listens on is a gateway that is
gone, and is removed.
"""

import contextlib
import json
import os
import socket
import stat
from collections.abc import Iterator
from typing import Any

LONGEST_ANSWER_BYTES = 4 * 1024 * 1024
ENDING = ".sock"

AnyPath = str | os.PathLike[str]


class NotRunning(LookupError):
    """No running gateway was found."""


class Ambiguous(LookupError):
    """Several gateways run, and the caller did not say which is meant."""


def runtime_directory() -> str:
    """The directory of control sockets, made if missing, readable by its owner only.

    `HEADGATE_RUNTIME_DIR`, else systemd's `RUNTIME_DIRECTORY`, else /run/headgate for root, else
    `$XDG_RUNTIME_DIR/headgate`, else /tmp/headgate-<uid>. Raises PermissionError if it belongs to somebody
    else.
    """
    uid = os.geteuid()
    environment = os.environ
    if given := environment.get("HEADGATE_RUNTIME_DIR"):
        path = given
    elif systemd := environment.get("RUNTIME_DIRECTORY"):
        path = systemd.split(":")[0]
    elif uid == 0:
        path = "/run/headgate"
    elif user := environment.get("XDG_RUNTIME_DIR"):
        path = f"{user}/headgate"
    else:
        path = f"/tmp/headgate-{uid}"
    os.makedirs(path, mode=0o700, exist_ok=True)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (uid, 0):
        raise PermissionError(
            f"runtime directory `{path}` belongs to somebody else\n  hint: set HEADGATE_RUNTIME_DIR"
        )
    return path


def control_socket_path(pid: int) -> str:
    """The control socket of the supervisor with this process id."""
    return f"{runtime_directory()}/{pid}{ENDING}"


def running() -> list[int]:
    """The process ids of the gateways that answer; removes the sockets of those that do not."""
    pids = []
    folder = runtime_directory()
    for name in os.listdir(folder):
        pid = name.removesuffix(ENDING)
        if pid == name or not pid.isdigit():
            continue
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(f"{folder}/{name}")
                pids.append(int(pid))
            except ConnectionRefusedError:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{folder}/{name}")
            except OSError:
                pass
    return sorted(pids)


def find(pid: int | None = None, pid_file: AnyPath | None = None) -> int:
    """The process id of the gateway that is meant; the only one that runs if neither argument is given."""
    alive = running()
    if pid_file is not None:
        try:
            pid = _read_pid_file(pid_file)
        except (OSError, ValueError):
            raise NotRunning(
                f"no process id in `{os.fspath(pid_file)}`\n  hint: is the gateway running?"
            ) from None
    if pid is not None:
        if pid not in alive:
            raise NotRunning(f"no gateway runs as process {pid}")
        return pid
    if not alive:
        raise NotRunning("no gateway is running\n  hint: `headgate run FILE` starts one")
    if len(alive) > 1:
        raise Ambiguous(f"several gateways run: {', '.join(map(str, alive))}\n  hint: name one with --pid")
    return alive[0]


def ask(pid: int, command: str, timeout_s: float = 120.0) -> dict[str, Any]:
    """Sends a command to the supervisor `pid` and waits for its answer; raises NotRunning if it goes away."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(timeout_s)
        try:
            line.connect(control_socket_path(pid))
            line.sendall(json.dumps({"command": command}).encode() + b"\n")
            answer = bytearray()
            while not answer.endswith(b"\n") and len(answer) < LONGEST_ANSWER_BYTES:
                if not (data := line.recv(65536)):
                    break
                answer += data
        except (ConnectionError, FileNotFoundError) as error:
            raise NotRunning(f"the gateway with process id {pid} does not answer") from error
    if not answer:
        raise NotRunning(f"the gateway with process id {pid} ended before it answered")
    decoded: dict[str, Any] = json.loads(answer)
    return decoded


def follow(pid: int, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Sends a command that is answered with line after line, and gives them until the supervisor closes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        try:
            line.connect(control_socket_path(pid))
        except (ConnectionError, FileNotFoundError) as error:
            raise NotRunning(f"the gateway with process id {pid} does not answer") from error
        line.sendall(json.dumps(request).encode() + b"\n")
        with line.makefile("rb") as answers:
            for answer in answers:
                yield json.loads(answer)


def write_pid_file(path: AnyPath, pid: int) -> None:
    """Writes the process id in one step, so that a reader never sees half of it."""
    folder, name = os.path.split(path)
    partial = os.path.join(folder, f".{name}.{pid}")
    with open(partial, "w") as file:
        file.write(f"{pid}\n")
    os.replace(partial, path)


def remove_pid_file(path: AnyPath, pid: int) -> None:
    """Removes the file unless a successor has written its own id there."""
    with contextlib.suppress(OSError, ValueError):
        if _read_pid_file(path) == pid:
            os.unlink(path)


def _read_pid_file(path: AnyPath) -> int:
    with open(path) as file:
        return int(file.read())
