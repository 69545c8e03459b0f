"""A client of a supervisor's control socket: what the command line uses."""

import socket
from collections.abc import Iterator
from typing import TypeVar

from headgate.control import commands, runtime
from headgate.control.inspection_messages import InspectOrder
from headgate.control.records import Message, MessageError
from headgate.control.runtime import AnyPath, NotRunning

LONGEST_REPLY_BYTES = 64 * 1024 * 1024
PATIENCE_S = 120.0

R = TypeVar("R", bound=Message)


class CommandRefused(Exception):
    """The supervisor did not do it; the text says why."""


class Client:
    """Talks to the supervisor with process id `pid`, whose control socket is in `folder`.

    Each call opens a connection. All raise NotRunning if the gateway has exited, CommandRefused if it refuses,
    MessageError if it speaks another version, OSError if it cannot be talked to.
    """

    def __init__(self, pid: int, folder: str) -> None:
        self.pid, self.folder = pid, folder

    @classmethod
    def find(
        cls, *, folder: AnyPath | None = None, pid: int | None = None, pid_file: AnyPath | None = None
    ) -> "Client":
        """Of the gateway that is meant: the only one that runs, if nothing is given. Raises as `runtime.find`."""
        where = runtime.place(folder)
        return cls(runtime.find(where, pid, pid_file), where)

    @property
    def is_running(self) -> bool:
        """Whether the gateway still listens for commands."""
        return self.pid in runtime.running(self.folder)

    def status(self) -> commands.Status:
        """What runs."""
        return self._ask(commands.GetStatus(), commands.Status)

    def hook_times(self) -> commands.HookTimesReply:
        """How long hooks take."""
        return self._ask(commands.GetHookTimes(), commands.HookTimesReply)

    def metrics(self) -> commands.MetricsReply:
        """All numbers that the gateway counts."""
        return self._ask(commands.GetMetrics(), commands.MetricsReply)

    def profile(self, seconds: float, interval_s: float) -> commands.Profiled:
        """What Python code ran in the workers for so long."""
        command = commands.GetProfile(seconds=seconds, interval_s=interval_s)
        return self._ask(command, commands.Profiled, PATIENCE_S + seconds)

    def reload(self) -> commands.Reloaded:
        """Loads code and configuration anew; returns when that serves."""
        return self._ask(commands.Reload(), commands.Reloaded)

    def upgrade(self) -> commands.Upgraded:
        """Starts the program anew; returns when that serves."""
        return self._ask(commands.Upgrade(), commands.Upgraded)

    def stop(self, *, now: bool = False) -> None:
        """Begins to stop; returns at once."""
        self._ask(commands.Stop(now=now), commands.Done)

    def reopen_logs(self) -> None:
        """Opens log files anew."""
        self._ask(commands.ReopenLogs(), commands.Done)

    def set_server(self, upstream: str, server: str, state: str) -> None:
        """Takes a server of an upstream out (`drain`, `maintenance`), or back in (`ready`)."""
        self._ask(commands.SetServer(upstream=upstream, server=server, state=state), commands.Done)

    def look(self, order: InspectOrder, for_s: float) -> Iterator[Message]:
        """`Looking`, then `Seen` for each hit, and `LookingEnded` unless the gateway ends first."""
        command = commands.Look(order=order, for_s=for_s)
        with self._connected(timeout_s=None) as line:
            line.sendall(command.encode() + b"\n")
            with line.makefile("rb") as replies:
                for reply in replies:
                    yield _read(reply)

    def follow_logs(self, socket_: socket.socket) -> Iterator[commands.Following]:
        """Has a line of JSON of each request sent into this socket (a sequence of packets), a message each.

        Gives one reply and ends when the gateway does; closing the iterator ends the following.
        """
        with self._connected(timeout_s=None) as line:
            socket.send_fds(line, [commands.FollowLogs().encode() + b"\n"], [socket_.fileno()])
            socket_.close()
            with line.makefile("rb") as replies:
                for reply in replies:
                    following = _read(reply)
                    if isinstance(following, commands.Following):
                        yield following

    def _ask(self, command: Message, wanted: type[R], patience_s: float = PATIENCE_S) -> R:
        with self._connected(patience_s) as line:
            try:
                line.sendall(command.encode() + b"\n")
                data = bytearray()
                while not data.endswith(b"\n") and len(data) < LONGEST_REPLY_BYTES:
                    if not (more := line.recv(65536)):
                        break
                    data += more
            except ConnectionError as error:
                raise NotRunning(f"the gateway with process id {self.pid} does not respond") from error
        if not data:
            raise NotRunning(f"the gateway with process id {self.pid} ended before it replied")
        reply = _read(data)
        if not isinstance(reply, wanted):
            raise MessageError(f"a reply of another kind: {type(reply).__name__}")
        return reply

    def _connected(self, timeout_s: float | None) -> socket.socket:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.settimeout(timeout_s)
        try:
            line.connect(runtime.control_socket_path(self.folder, self.pid))
        except (ConnectionError, FileNotFoundError) as error:
            line.close()
            raise NotRunning(f"the gateway with process id {self.pid} does not respond") from error
        except OSError:
            line.close()
            raise
        return line


def _read(data: bytes | bytearray) -> Message:
    reply = commands.REPLIES.decode(data)
    if isinstance(reply, commands.Refused):
        raise CommandRefused(reply.error)
    return reply
