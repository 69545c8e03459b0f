"""How commands talk to the Admin API: where it is found, and what they say when it refuses."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import typer

from headgate.cli.connecting import Pid, PidFile, RuntimeDir, connected
from headgate.cli.failing import FAILURE, NOT_RUNNING, USAGE, fail
from headgate.cli.retrying import Patience

Address = Annotated[
    str | None,
    typer.Option(
        "--admin",
        envvar="HEADGATE_ADMIN",
        help="`unix:/path`, `http://host:port` or `https://host:port`.  [default: that of the gateway that runs here]",
    ),
]
PATIENCE_S = 130.0


class AdminResponse(NamedTuple):
    """A response that was not refused."""

    status: int
    headers: Mapping[str, str]
    content: Any


class AdminClient:
    """Asks the Admin API; a refusal ends the command with its words."""

    def __init__(self, address: str) -> None:
        self._address = address

    @classmethod
    def find(
        cls, address: str | None, pid: int | None, pid_file: Path | None, folder: Path | None
    ) -> AdminClient:
        """At an address, or of the gateway that runs here; ends the command if there is none."""
        if address:
            return cls(address)
        with connected(pid, pid_file, folder) as client:
            found = client.status().admin
        if not found:
            fail(
                'the gateway has no Admin API\n  hint: `admin: "unix:/run/headgate/admin.sock"` in its file',
                USAGE,
            )
        return cls(found[0] if found[0].startswith("unix:") else f"http://{found[0]}")

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str | None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AdminResponse:
        """One request, made again as a 503 tells; ends the command if it is refused."""
        given = {key: value for key, value in (query or {}).items() if value is not None}
        target = quote(path) + (f"?{urlencode(given)}" if given else "")
        sent = {"accept": "application/json", **(headers or {})}
        if token := os.environ.get("HEADGATE_TOKEN"):
            sent["authorization"] = f"Bearer {token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        patience = Patience()
        status, told, content = self._once(method, target, data, sent)
        while patience.waits(status, told):  # the agent is replaced after a reload
            status, told, content = self._once(method, target, data, sent)
        response = AdminResponse(status, told, _read(content))
        if response.status >= 400:
            _refused(response)
        return response

    def _once(
        self, method: str, target: str, data: bytes | None, sent: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        try:
            with contextlib.closing(self._connected()) as connection:
                connection.request(method, target, data, sent)
                raw = connection.getresponse()
                return raw.status, {name.lower(): value for name, value in raw.getheaders()}, raw.read()
        except (OSError, http.client.HTTPException) as error:
            fail(f"cannot talk to the Admin API at `{self._address}`: {error}", NOT_RUNNING)

    def _connected(self) -> http.client.HTTPConnection:
        if self._address.startswith("unix:"):
            return _UnixConnection(self._address.removeprefix("unix:").removeprefix("//"))
        parts = urlsplit(self._address)
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=os.environ.get("HEADGATE_CA"))
            return http.client.HTTPSConnection(parts.netloc, timeout=PATIENCE_S, context=context)
        if parts.scheme != "http" or not parts.netloc:
            fail(
                f"`{self._address}` is not an address of an Admin API\n  hint: write `http://127.0.0.1:9144`",
                USAGE,
            )
        return http.client.HTTPConnection(parts.netloc, timeout=PATIENCE_S)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        """Connects to the socket's file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _read(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        fail("the Admin API gave what is not JSON", FAILURE)


def _refused(response: AdminResponse) -> None:
    said = response.content if isinstance(response.content, dict) else {}
    errors = said.get("errors") or [
        {"message": said.get("detail", f"status {response.status}"), "hint": said.get("hint")}
    ]
    texts = []
    for error in errors:
        where = error.get("resource") or error.get("place")
        text = f"{where}: {error['message']}" if where else error["message"]
        texts.append(text if not error.get("hint") else f"{text}\n  hint: {error['hint']}")
    if response.status in (401, 403) and not os.environ.get("HEADGATE_TOKEN"):
        texts.append("  hint: HEADGATE_TOKEN holds the token that is sent")
    fail("\n".join(texts), USAGE if response.status in (400, 404, 412, 415, 422) else FAILURE)


__all__ = ["Address", "AdminClient", "AdminResponse", "Pid", "PidFile", "RuntimeDir"]
