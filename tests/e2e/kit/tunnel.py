"""A real `headgate tunnel`, started beside a gateway and stopped exactly."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from .gateway import HEADGATE, RunningGateway
from .net import eventually

TOKEN = "0123456789abcdef0123456789abcdef"


class TunnelClient:
    """A client that exposes servers at a gateway, as `name=address`."""

    def __init__(
        self, gateway: RunningGateway, *exposed: str, token: str = TOKEN, to: str | None = None
    ) -> None:
        self._log = gateway.folder / f"tunnel-{len(list(gateway.folder.glob('tunnel-*.log')))}.log"
        words = [str(HEADGATE), "tunnel", "--to", to or f"http://{gateway.address}/_tunnel"]
        for one in exposed:
            words += ["--expose", one]
        self._words, self._environment = words, {**os.environ, "HEADGATE_TUNNEL_TOKEN": token}
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> "TunnelClient":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *more: str, is_ready: bool = True) -> "TunnelClient":
        """Starts it and waits until its tunnel is open."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._words, *more],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if is_ready:
            try:
                self.wait_open()
            except BaseException:
                self.stop()
                raise
        return self

    def wait_open(self, times: int = 1) -> None:
        """Waits until a tunnel was open so often."""
        eventually(lambda: self.log().count("tunnel open ") >= times, self.log, within=40)

    def log(self) -> str:
        """What it has said."""
        return self._log.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def stop(self) -> None:
        """Ends it as an operator does, also where it is held."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=15)
            return
        self.process.kill()
        self.process.wait(timeout=10)


def sockets(gateway: RunningGateway) -> set[str]:
    """The names whose sockets are there."""
    folder = Path(gateway.environment["HEADGATE_STATE_DIR"]) / "tunnels"
    return {path.stem for path in folder.glob("*.sock")}
