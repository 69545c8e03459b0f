"""Listeners and servers on TCP, IPv6 and Unix sockets."""

import os
from pathlib import Path

import pytest
from e2e.kit import Origin, Serve, fetch, free_port


@pytest.mark.parametrize("kind", ["ipv6", "unix"])
def test_listener_of_each_kind_serves(serve: Serve, origin: Origin, tmp_path: Path, kind: str) -> None:
    address = f"[::1]:{free_port('::1')}" if kind == "ipv6" else f"unix:{tmp_path}/gate.sock"
    gateway = serve({"routes": [{"to": origin.address}]}, listen=address)
    assert gateway.get("/there").json()["target"] == "/there"
    call = origin.wait_for("/there")
    assert call.get("x-forwarded-for") == ("::1" if kind == "ipv6" else "unix:")


def test_socket_file_of_a_listener_is_removed_at_the_end(serve: Serve, tmp_path: Path) -> None:
    gateway = serve({"routes": [{"respond": "x"}]}, listen=f"unix:{tmp_path}/gate.sock")
    assert (tmp_path / "gate.sock").is_socket()
    gateway.stop()
    assert not (tmp_path / "gate.sock").exists()


def test_stale_socket_file_is_replaced(serve: Serve, tmp_path: Path) -> None:
    with Origin(path=tmp_path / "gate.sock"):
        pass
    assert (tmp_path / "gate.sock").is_socket()
    gateway = serve({"routes": [{"respond": "new"}]}, listen=f"unix:{tmp_path}/gate.sock")
    assert gateway.get("/").text == "new"


def test_server_on_a_unix_socket_is_asked(serve: Serve, tmp_path: Path) -> None:
    with Origin(path=tmp_path / "origin.sock") as server:
        gateway = serve({"routes": [{"to": server.address}]})
        assert gateway.post("/there", b"body").json()["body"] == "body"


def test_server_on_ipv6_is_asked(serve: Serve) -> None:
    with Origin(host="::1") as server:
        gateway = serve({"routes": [{"to": server.address}]})
        assert gateway.post("/there", b"body").json()["body"] == "body"


def test_server_is_found_by_name(serve: Serve, origin: Origin) -> None:
    port = origin.address.rpartition(":")[2]
    gateway = serve({"routes": [{"to": f"http://localhost:{port}"}]})
    assert gateway.get("/there").status == 200


def test_several_listeners_serve_at_once(serve: Serve, tmp_path: Path) -> None:
    second = f"127.0.0.1:{free_port()}"
    source = {"routes": [{"respond": "x"}]}
    gateway = serve({"listeners": [f"unix:{tmp_path}/one.sock", second], **source}, listen=second)
    assert fetch(second, "/").text == "x"
    assert fetch(f"unix:{tmp_path}/one.sock", "/").text == "x"
    assert gateway.process.poll() is None


def test_port_that_is_taken_is_named(serve: Serve, origin: Origin) -> None:
    gateway = serve({"routes": [{"respond": "x"}]}, listen=origin.address, is_ready=False)
    assert gateway.process.wait(timeout=30) not in (0, None)
    assert origin.address.rpartition(":")[2] in gateway.log()
    assert "Traceback" not in gateway.log()


def test_workers_do_not_hold_the_folder_of_another_user(serve: Serve, tmp_path: Path) -> None:
    gateway = serve({"routes": [{"respond": "x"}]})
    modes = {entry.name: entry.stat().st_mode & 0o777 for entry in os.scandir(gateway.folder / "run")}
    assert modes
    assert all(mode & 0o077 == 0 for mode in modes.values()), modes
