"""The control socket: whoever sees its file can connect."""

import os
import socket
from pathlib import Path

import pytest

from headgate.control.commands import Done
from headgate.control.endpoint import Endpoint
from headgate.control.reactor import Reactor


def test_the_socket_appears_only_once_it_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "1.sock"
    seen: list[bool] = []

    class Watched(socket.socket):
        def listen(self, *backlog: int) -> None:
            seen.append(path.exists())
            super().listen(*backlog)

    monkeypatch.setattr("headgate.control.endpoint.socket.socket", Watched)
    endpoint = Endpoint(Reactor(), str(path), lambda command, respond: respond(Done()))
    assert seen == [False]
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(os.fspath(path))
    endpoint.close()
    assert list(tmp_path.iterdir()) == []
