"""A faulty network: Toxiproxy between a gateway and its servers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .net import eventually, free_port


def program() -> str | None:
    """Where Toxiproxy is; None if it is not installed."""
    go = os.environ.get("GOPATH") or str(Path.home() / "go")
    return shutil.which("server", path=f"{go}/bin/toxiproxy") or shutil.which("toxiproxy-server")


class Network:
    """A Toxiproxy of its own, with a link to each server."""

    def __init__(self) -> None:
        self._port = free_port()
        self._links = 0
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Network:
        server = program()
        if server is None:
            raise RuntimeError("no Toxiproxy here; hint: `make services`")
        quiet = subprocess.DEVNULL
        words = [server, "-host", "127.0.0.1", "-port", str(self._port)]
        self._process = subprocess.Popen(words, stdout=quiet, stderr=quiet)
        eventually(self._responds, "Toxiproxy responds")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)

    def link(self, server: str) -> Link:
        """A link to a server, without faults yet."""
        self._links += 1
        link = Link(self, f"link{self._links}", f"127.0.0.1:{free_port()}")
        self.call(
            "POST",
            "/proxies",
            {"name": link.name, "listen": link.address, "upstream": server, "enabled": True},
        )
        return link

    def call(self, method: str, path: str, body: Any = None) -> None:
        """A call of its API; fails unless it succeeds."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            assert response.status < 300, response.read()

    def _responds(self) -> bool:
        try:
            self.call("GET", "/version")
        except OSError:
            return False
        return True


class Link:
    """A way to one server."""

    def __init__(self, network: Network, name: str, address: str) -> None:
        self._network, self.name, self.address = network, name, address

    def suffer(self, kind: str, *, stream: str = "downstream", share: float = 1.0, **attributes: int) -> None:
        """From here on a share of its connections has this fault, towards the gateway or `upstream`."""
        toxic = {"name": kind, "type": kind, "stream": stream, "toxicity": share, "attributes": attributes}
        self._network.call("POST", f"/proxies/{self.name}/toxics", toxic)

    def heal(self, kind: str) -> None:
        """The fault is over."""
        self._network.call("DELETE", f"/proxies/{self.name}/toxics/{kind}")

    def cut(self, *, is_cut: bool = True) -> None:
        """Refuses connections, and ends those that are there; or no more."""
        self._network.call("POST", f"/proxies/{self.name}", {"enabled": not is_cut})
