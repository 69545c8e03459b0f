"""The process that workers are forked from: it has imported what they need, and has no threads.

How it works: a generation starts it by exec. It imports headgate and what headgate uses, but nothing of the user's,
lets the collector leave all that alone (`gc.freeze`), and then forks a worker for each `Fork`. What was imported is in
memory once for all of them, as far as they do not write to it. It stays single, without an event loop and without the
engine's runtime, so that a fork copies nothing that runs; `check_is_single` refuses to fork otherwise. It is the parent
of the workers, so it also collects them when they end. When the supervisor is gone, it ends.

On the command line it shows, as the workers do, as `python -P -m headgate.worker`.
"""

import gc
import importlib
import os
import signal
import socket
import sys

from headgate.control.channel import CHANNEL_DESCRIPTOR, Channel, ChannelClosed
from headgate.control.messages import TO_ZYGOTE, Fork, Forked, Reap, Reaped

PLAIN = "plain"
"""The argument for workers without Python code."""

PRELOADED = {
    True: ["headgate.worker.plain_worker", "headgate.worker.proxying"],
    False: [
        "headgate.worker.worker",
        "headgate.compile.loading",
        "headgate.compile.order",
        "headgate.worker.source",
        # the file that a gateway of data alone is read from
        "headgate.compile.documents",
        "headgate.compile.sources",
    ],
}
LEFT_TO_THE_SUPERVISOR = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def main() -> None:
    """The whole life of the process, and of each worker that is forked from it."""
    is_plain = PLAIN in sys.argv[1:]
    for number in LEFT_TO_THE_SUPERVISOR:
        signal.signal(number, signal.SIG_IGN)
    for name in PRELOADED[is_plain]:
        importlib.import_module(name)
    if not is_plain:
        from headgate.config.settings import Settings  # which plain workers do without

        Settings.build_all()
    gc.collect()
    gc.freeze()
    _fork_on_demand(Channel(socket.socket(fileno=CHANNEL_DESCRIPTOR), TO_ZYGOTE))
    _become_worker(is_plain=is_plain)


def check_is_single() -> None:
    """Raises RuntimeError if this process has other threads, which a fork would not copy."""
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"{threads} threads run in the zygote")


def _fork_on_demand(channel: Channel) -> None:
    """Serves the supervisor; returns in each forked worker, with its channel in the place of ours."""
    os.set_inheritable(CHANNEL_DESCRIPTOR, False)
    while True:
        try:
            message, descriptors = channel.receive()
            match message:
                case Fork():
                    if not (pid := _fork(channel, *descriptors)):
                        return
                    pidfd = os.pidfd_open(pid)
                    channel.send(Forked(pid=pid), [pidfd])
                    os.close(pidfd)
                case Reap(pid=pid):
                    _, status = os.waitpid(pid, 0)
                    channel.send(Reaped(pid=pid, status=os.waitstatus_to_exitcode(status)))
        except ChannelClosed:
            sys.exit(0)  # also: started ahead of time for a command line that turned out to be wrong


def _fork(channel: Channel, end: int) -> int:
    check_is_single()
    pid = os.fork()
    if pid == 0:
        channel.socket.detach()
        os.dup2(end, CHANNEL_DESCRIPTOR, inheritable=False)
    os.close(end)
    return pid


def _become_worker(*, is_plain: bool) -> None:
    for number in LEFT_TO_THE_SUPERVISOR:
        signal.signal(number, signal.SIG_DFL)
    if is_plain:
        from headgate.worker import plain_worker

        plain_worker.main()
    from headgate.worker import worker

    worker.main()
