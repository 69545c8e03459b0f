import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.control import runtime
from headgate.control.endpoint import Answer, Endpoint
from headgate.control.reactor import Reactor


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADGATE_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def supervisor() -> Iterator[int]:
    """Something that answers on the control socket of this process, as a supervisor would."""
    reactor = Reactor()

    def handle(command: str, answer: Answer) -> None:
        if command == "leave":
            answer({"ok": True})
            endpoint.close()
            reactor.stop()
        else:
            answer({"ok": True, "heard": command})

    endpoint = Endpoint(reactor, runtime.control_socket_path(os.getpid()), handle)
    thread = threading.Thread(target=reactor.run)
    thread.start()
    yield os.getpid()
    if runtime.running():
        runtime.ask(os.getpid(), "leave")
    thread.join()


def test_runtime_directory_is_private(folder: Path) -> None:
    assert runtime.runtime_directory() == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_only_gateway_is_found_and_answers(supervisor: int) -> None:
    assert runtime.find() == supervisor
    assert runtime.ask(supervisor, "status") == {"ok": True, "heard": "status"}


def test_no_gateway_is_an_error_with_a_hint() -> None:
    with pytest.raises(runtime.NotRunning, match=r"no gateway is running\n  hint:"):
        runtime.find()


def test_socket_of_a_dead_gateway_is_removed(folder: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime.control_socket_path(1)))
    assert runtime.running() == []
    assert list(folder.glob("*.sock")) == []


def test_several_gateways_ask_for_a_choice(supervisor: int, folder: Path) -> None:
    (folder / "1.sock").symlink_to(f"{supervisor}.sock")
    with pytest.raises(runtime.Ambiguous, match="--pid"):
        runtime.find()
    assert runtime.find(pid=supervisor) == supervisor


def test_pid_file_names_the_gateway(supervisor: int, tmp_path: Path) -> None:
    runtime.write_pid_file(tmp_path / "pid", supervisor)
    assert runtime.find(pid_file=tmp_path / "pid") == supervisor


def test_pid_file_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    runtime.write_pid_file(path, 2)
    runtime.remove_pid_file(path, 1)
    assert path.read_text() == "2\n"
    runtime.remove_pid_file(path, 2)
    assert not path.exists()
