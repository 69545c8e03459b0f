import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.supervisor import notify


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The service manager's end."""
    path = tmp_path / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(path))
        datagrams.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield datagrams


def test_ready_names_the_main_process(manager: socket.socket) -> None:
    assert notify.ready(4711)
    assert manager.recv(1024) == b"READY=1\nMAINPID=4711"


def test_reloading_tells_the_monotonic_time(manager: socket.socket) -> None:
    assert notify.reloading()
    state, time = manager.recv(1024).split(b"\n")
    assert state == b"RELOADING=1" and time.removeprefix(b"MONOTONIC_USEC=").isdigit()


def test_abstract_socket_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"headgate-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind("\0" + name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert notify.stopping()
        assert datagrams.recv(1024) == b"STOPPING=1"


def test_nothing_happens_without_a_service_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.ready(1)


def test_a_manager_that_is_gone_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not notify.ready(1)
