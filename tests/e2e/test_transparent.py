"""Upstreams whose connections come from the client's own address."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import HEADGATE, RawClient, Serve, eventually, free_port
from e2e.kit.streams import StreamServer

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="IP_TRANSPARENT needs CAP_NET_ADMIN: run as root to see it tested"
)

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "client-address.md"

SERVER = """
import socket, sys
listener = socket.create_server((sys.argv[1], 9000), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
while True:
    connection, peer = listener.accept()
    with connection:
        if connection.recv(4096):
            body = peer[0].encode()
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
"""
CLIENT = """
import socket, sys
for port, words in ((8080, b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"), (8081, b"hello")):
    with socket.create_connection((sys.argv[1], port), 10) as connection:
        connection.sendall(words)
        print(connection.recv(4096).rpartition(b"\\n")[2].decode(), flush=True)
"""


def test_source_is_the_clients_address(serve: Serve) -> None:
    """On one machine: every address of 127.0.0.0/8 is its own."""
    with StreamServer(lambda connection: connection.sendall(b"x")) as server:
        address = f"127.0.0.1:{free_port()}"
        serve(
            {
                "upstreams": {"one": {"servers": server.address, "source": "client"}},
                "tcp": {"address": address, "to": "one"},
                "routes": [{"respond": "x"}],
            }
        )
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), 10, ("127.0.0.77", 0)) as client:
            assert client.recv(1) == b"x"
        assert server.peers[-1][0] == "127.0.0.77"


def test_source_is_one_of_the_machines_addresses(serve: Serve) -> None:
    with StreamServer(lambda connection: connection.sendall(b"x")) as server:
        address = f"127.0.0.1:{free_port()}"
        serve(
            {
                "upstreams": {"one": {"servers": server.address, "source": "127.0.0.55"}},
                "tcp": {"address": address, "to": "one"},
                "routes": [{"respond": "x"}],
            }
        )
        with RawClient(address) as client:
            assert client.read_exactly(1) == b"x"
        assert server.peers[-1][0] == "127.0.0.55"


class Networks:
    """Three network namespaces in a row: clients - gateway - servers."""

    def __init__(self) -> None:
        mark = f"hg{os.getpid()}"
        self.client, self.gate, self.server = (f"{mark}{part}" for part in "cgs")

    def run(self, *words: str) -> None:
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")

    def ip(self, namespace: str, *words: str) -> None:
        self.run("ip", "-n", namespace, *words)

    def open(self) -> None:
        for namespace in (self.client, self.gate, self.server):
            self.run("ip", "netns", "add", namespace)
            self.ip(namespace, "link", "set", "lo", "up")
        for outside, inside, number in ((self.client, "c", 1), (self.server, "s", 2)):
            self.ip(self.gate, "link", "add", inside, "type", "veth", "peer", "name", "eth", "netns", outside)
            for network, bits in ((f"10.99.{number}.", 24), (f"fd99:{number}::", 64)):
                own = ("dev", inside, "nodad") if bits == 64 else ("dev", inside)
                self.ip(self.gate, "address", "add", f"{network}1/{bits}", *own)
                self.ip(outside, "address", "add", f"{network}2/{bits}", "dev", "eth", *own[2:])
            self.ip(self.gate, "link", "set", inside, "up")
            self.ip(outside, "link", "set", "eth", "up")
            self.ip(outside, "route", "add", "default", "via", f"10.99.{number}.1")
            self.ip(outside, "-6", "route", "add", "default", "via", f"fd99:{number}::1")

    def follow(self, namespace: str, commands: list[str]) -> None:
        """Runs commands of the guide."""
        for command in commands:
            self.run("ip", "netns", "exec", namespace, *command.split())

    def close(self) -> None:
        for namespace in (self.client, self.gate, self.server):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True)

    def start(self, namespace: str, *words: str, folder: Path) -> "subprocess.Popen[bytes]":
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(
                ["ip", "netns", "exec", namespace, *words],
                cwd=folder,
                stdout=log,
                stderr=log,
                env={**os.environ, "HEADGATE_RUNTIME_DIR": str(folder / "run")},
            )


@pytest.fixture
def networks() -> Iterator[Networks]:
    if shutil.which("ip") is None:
        pytest.skip("no `ip` here to make network namespaces with")
    made = Networks()
    try:
        made.open()
    except OSError as error:
        made.close()
        pytest.skip(f"network namespaces are not permitted here: {error}")
    yield made
    made.close()


def recipe(version: int, *, is_by_port: bool) -> tuple[list[str], list[str]]:
    """The commands that the guide has for servers and for the gateway, with the addresses of here."""
    text = GUIDE.read_text()
    lines = [
        line.strip().removeprefix("# ") for line in text.splitlines() if line.strip().startswith("# ip ")
    ]
    lines += re.findall(r"# (sysctl .*)", text)
    servers = [line for line in lines if "via" in line]
    gate = [line for line in lines if "via" not in line]
    if version == 6:
        gate = re.findall(r"`(ip -6 [^`]*)`", text)
        servers = [
            line.replace("ip route", "ip -6 route").replace("10.0.0.1", "fd99:2::1") for line in servers
        ]
    elif is_by_port:
        gate = [line for line in gate if "rule" not in line] + re.findall(
            r"`(ip rule [^`]*sport[^`]*)`", text
        )
    assert len(gate) >= 2 and len(servers) == 1, (gate, servers)
    here = {"10.0.0.8": "10.99.2.2", "ADDRESS": "fd99:2::2", "10.0.0.1": "10.99.2.1"}
    for there, address in here.items():
        gate = [line.replace(there, address) for line in gate]
        servers = [line.replace(there, address) for line in servers]
    return servers, gate


@pytest.mark.parametrize(("version", "is_by_port"), [(4, False), (4, True), (6, False)])
def test_client_of_another_network_reaches_the_server_as_itself_by_the_recipe_of_the_guide(
    networks: Networks, tmp_path: Path, version: int, is_by_port: bool
) -> None:
    of_servers, of_gate = recipe(version, is_by_port=is_by_port)
    networks.follow(networks.server, of_servers)
    networks.follow(networks.gate, of_gate)
    client, front, back = (
        ("10.99.1.2", "10.99.1.1", "10.99.2.2") if version == 4 else ("fd99:1::2", "fd99:1::1", "fd99:2::2")
    )
    table = {
        "listeners": ":8080",
        "tcp": {"address": ":8081", "to": "servers"},
        "upstreams": {
            "servers": {"servers": f"{back if version == 4 else f'[{back}]'}:9000", "source": "client"}
        },
        "routes": [{"to": "servers"}],
        "workers": 1,
    }
    (tmp_path / "gate.json").write_text(json.dumps(table))
    server = networks.start(networks.server, sys.executable, "-c", SERVER, back, folder=tmp_path)
    gate = networks.start(networks.gate, str(HEADGATE), "run", "gate.json", folder=tmp_path)
    try:
        log = tmp_path / "log"
        eventually(lambda: "serving" in log.read_text(), lambda: log.read_text(), within=40)
        words = ["ip", "netns", "exec", networks.client, sys.executable, "-c", CLIENT, front]
        seen = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert seen.stdout.split() == [client, client], (seen.stderr, log.read_text())
    finally:
        for process in (gate, server):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            process.wait(timeout=15)
