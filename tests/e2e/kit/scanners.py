"""Real scanners of uploads (ClamAV with a signature of the test's own, behind c-icap), and a real broker of MQTT."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .net import eventually, free_port
from .services import HINT, wait_for_port

MODULES = Path("/usr/lib/x86_64-linux-gnu/c_icap")
WORM = b"headgate-test-worm-0123456789-abcdefghij"
"""What the scanner takes for a worm: no file with a real signature need be on the disk of a test."""


def program(name: str) -> str | None:
    """Where a server is; Debian keeps some out of the path of users."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def has_scanner() -> bool:
    """Whether c-icap and ClamAV are here."""
    return bool(program("c-icap") and program("clamd")) and (MODULES / "virus_scan.so").exists()


@contextlib.contextmanager
def running(command: list[str], log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that listens on a port."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for_port(port, process, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def clamd(folder: Path) -> Iterator[Path]:
    """A clamd that knows one worm; gives the path of its socket."""
    found = program("clamd")
    if found is None:
        raise RuntimeError(f"no clamd here; {HINT}")
    (folder / "db").mkdir()
    (folder / "db" / "test.ndb").write_text(f"Headgate.Test.Worm:0:*:{WORM.hex()}\n")
    socket, config = folder / "clamd.sock", folder / "clamd.conf"
    lines = [
        f"LocalSocket {socket}",
        f"DatabaseDirectory {folder / 'db'}",
        "Foreground yes",
        f"User {pwd.getpwuid(os.getuid()).pw_name}",
        "LocalSocketMode 666",
    ]
    config.write_text("\n".join(lines) + "\n")
    with (folder / "clamd.log").open("ab") as log:
        process = subprocess.Popen([found, "--config-file", str(config)], stdout=log, stderr=log)
    try:
        eventually(socket.exists, lambda: (folder / "clamd.log").read_text(errors="replace"), within=60)
        yield socket
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextlib.contextmanager
def icap(folder: Path, clamd_socket: Path) -> Iterator[str]:
    """A c-icap that asks clamd; gives the URL of its service."""
    found = program("c-icap")
    if found is None:
        raise RuntimeError(f"no c-icap here; {HINT}")
    port = free_port()
    user = pwd.getpwuid(os.getuid()).pw_name
    config = folder / "c-icap.conf"
    config.write_text(
        f"""
PidFile {folder / "c-icap.pid"}
CommandsSocket {folder / "c-icap.ctl"}
Timeout 60
MaxKeepAliveRequests 100
KeepAliveTimeout 60
StartServers 1
MaxServers 2
MinSpareThreads 2
MaxSpareThreads 10
ThreadsPerChild 10
MaxRequestsPerChild 0
Port 127.0.0.1:{port}
User {user}
ServerAdmin test
ServerName test
TmpDir {folder}
MaxMemObject 131072
DebugLevel 1
ModulesDir {MODULES}
ServicesDir {MODULES}
TemplateDir /usr/share/c_icap/templates/
TemplateDefaultLanguage en
LoadMagicFile /etc/c-icap/c-icap.magic
ServerLog {folder / "c-icap-server.log"}
AccessLog {folder / "c-icap-access.log"}
Service echo srv_echo.so
Module common clamd_mod.so
clamd_mod.ClamdSocket {clamd_socket}
Service antivirus virus_scan.so
ServiceAlias avscan virus_scan
virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE
virus_scan.MaxObjectSize 5M
virus_scan.DefaultEngine clamd
"""
    )
    with running([found, "-N", "-f", str(config)], folder / "c-icap.log", port):
        yield f"icap://127.0.0.1:{port}"


@contextlib.contextmanager
def mosquitto(folder: Path, *, password: bool = False) -> Iterator[int]:
    """A Mosquitto; gives its port. With `password`, the user `ann` has to show `hush`."""
    found = program("mosquitto")
    if found is None:
        raise RuntimeError(f"no mosquitto here; {HINT}")
    port = free_port()
    lines = [f"listener {port} 127.0.0.1", "log_type all", "persistence false"]
    if password:
        users = folder / "users"
        subprocess.run(
            ["mosquitto_passwd", "-b", "-c", str(users), "ann", "hush"], check=True, capture_output=True
        )
        users.chmod(0o644)
        folder.chmod(0o755)
        lines += ["allow_anonymous false", f"password_file {users}"]
    else:
        lines.append("allow_anonymous true")
    if os.getuid() == 0:
        lines.append("user root")
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    with running([found, "-c", str(config)], folder / "mosquitto.log", port):
        yield port
