import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.control import runtime
from headgate.control.client import Client
from headgate.control.commands import Done, Stop
from headgate.control.endpoint import Endpoint, Respond
from headgate.control.reactor import Reactor
from headgate.control.records import Message
from headgate.supervisor import pid_file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADGATE_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def supervisor() -> Iterator[int]:
    """Something that replies on the control socket of this process, as a supervisor would."""
    reactor = Reactor()

    def handle(command: Message, respond: Respond) -> None:
        respond(Done())
        if isinstance(command, Stop):
            endpoint.close()
            reactor.stop()

    path = runtime.control_socket_path(runtime.made(), os.getpid())
    endpoint = Endpoint(reactor, path, handle)
    thread = threading.Thread(target=reactor.run)
    thread.start()
    yield os.getpid()
    if runtime.running():
        Client(os.getpid(), runtime.place()).stop()
    thread.join()


def test_runtime_directory_is_private(folder: Path) -> None:
    assert runtime.made() == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_only_gateway_is_found_and_replies(supervisor: int) -> None:
    client = Client.find()
    assert client.pid == supervisor and client.is_running
    client.reopen_logs()


def test_no_gateway_is_an_error_with_a_hint() -> None:
    with pytest.raises(runtime.NotRunning, match=r"no gateway is running\n  hint:"):
        runtime.find(runtime.place())


def test_socket_of_a_dead_gateway_is_removed(folder: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(runtime.control_socket_path(runtime.made(), 1))
    assert runtime.running() == []
    assert list(folder.glob("*.sock")) == []


def test_several_gateways_ask_for_a_choice(supervisor: int, folder: Path) -> None:
    (folder / "1.sock").symlink_to(f"{supervisor}.sock")
    with pytest.raises(runtime.Ambiguous, match="--pid"):
        runtime.find(runtime.place())
    assert runtime.find(runtime.place(), pid=supervisor) == supervisor


def test_pid_file_names_the_gateway(supervisor: int, tmp_path: Path) -> None:
    pid_file.write(tmp_path / "pid", supervisor)
    assert runtime.find(runtime.place(), pid_file=tmp_path / "pid") == supervisor


def test_looking_for_gateways_makes_no_folder(folder: Path) -> None:
    assert runtime.running() == []
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_root_finds_the_gateways_of_another_user(supervisor: int, folder: Path) -> None:
    os.chown(folder, 65534, 65534)
    assert runtime.find(str(folder)) == supervisor
    with pytest.raises(PermissionError, match="belongs to another user"):
        runtime.made()
