"""What takes the log in tests: sockets that keep what comes, and a real syslog daemon."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

from .net import eventually, free_port
from .services import HINT


class LineServer:
    """A TCP (or TLS) server that keeps the lines it reads; it can be stopped, and started again on its port."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.data = b""
        self._tls = tls
        self._open: list[socket.socket] = []

    def __enter__(self) -> LineServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The whole lines so far, as objects."""
        return [json.loads(line) for line in self.data.splitlines(keepends=True) if line.endswith(b"\n")]

    def start(self) -> None:
        """Accepts."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self._open.append(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def stop(self) -> None:
        """Closes everything."""
        while self._open:
            one = self._open.pop()
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
                if self._tls:
                    connection = self._tls.wrap_socket(connection, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        try:
            while piece := connection.recv(65536):
                self.data += piece
        except OSError:
            pass


class DatagramServer:
    """A socket that keeps the datagrams it gets: UDP, or at a path."""

    def __init__(self, path: Path | None = None) -> None:
        family = socket.AF_UNIX if path else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind(str(path) if path else ("127.0.0.1", 0))
        self.port = 0 if path else self._socket.getsockname()[1]
        self.datagrams: list[bytes] = []
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> DatagramServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _read(self) -> None:
        try:
            while True:
                self.datagrams.append(self._socket.recv(1 << 17))
        except OSError:
            pass


class Rsyslog:
    """A real rsyslogd; each message that it has parsed is an object."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("rsyslogd", path="/usr/sbin:/sbin:/usr/bin:/usr/local/sbin")
        if program is None:
            raise RuntimeError(f"no rsyslogd here; {HINT}")
        self.tcp, self.udp, self.path = free_port(), free_port(), folder / "log"
        self._output = folder / "messages"
        configuration = folder / "rsyslog.conf"
        configuration.write_text(
            f"""
global(workDirectory="{folder}")
module(load="imtcp") module(load="imudp") module(load="imuxsock" SysSock.Use="off")
input(type="imtcp" port="{self.tcp}" address="127.0.0.1")
input(type="imudp" port="{self.udp}" address="127.0.0.1")
input(type="imuxsock" Socket="{self.path}" UseSysTimeStamp="off" IgnoreTimestamp="off"
  useSpecialParser="off" parseHostname="on")
template(name="told" type="list" option.jsonf="on") {{
  property(outname="pri" name="pri" format="jsonf")
  property(outname="version" name="protocol-version" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="program" name="app-name" format="jsonf")
  property(outname="id" name="msgid" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}}
action(type="omfile" file="{self._output}" template="told")
"""
        )
        self._log = folder / "rsyslog.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, "-n", "-f", str(configuration), "-i", str(folder / "rsyslog.pid")],
                stdout=log,
                stderr=log,
            )
        eventually(self._is_ready, lambda: f"rsyslogd is ready: {self._log.read_text()}", within=20)

    def __enter__(self) -> Rsyslog:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What has come so far."""
        text = self._output.read_text() if self._output.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def _is_ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.tcp)) == 0 and self.path.exists()
