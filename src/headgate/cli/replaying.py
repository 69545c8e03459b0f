"""Sends the requests of an HTTP Archive to another server, and tells what it says differently: `headgate replay`."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from headgate.cli.failing import FAILURE, USAGE, fail
from headgate.cli.log_lines import harmless
from headgate.cli.response_differences import MASK, Got, bodies, heads, kept_body

SAFE = ("GET", "HEAD", "OPTIONS")
MOST_FILE_BYTES, MOST_BODY_BYTES = 1 << 30, 64 << 20
NOT_SENT = frozenset(
    (
        *(
            "accept-encoding",
            "connection",
            "content-encoding",
            "content-length",
            "expect",
            "host",
            "keep-alive",
        ),
        *("proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}")


@dataclass
class Replayed:
    """One request, and what was different."""

    request: str
    differences: list[str] = field(default_factory=list)
    skipped: str = ""


def replay(
    file: Annotated[
        Path, typer.Argument(help="The archive (HAR 1.2), as `har-capture` or a browser writes it.")
    ],
    to: Annotated[str, typer.Option(help="The server: `http://10.0.0.9:9000`.")],
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Also requests that change something: POST, PUT, DELETE.")
    ] = False,
    compare: Annotated[
        list[str] | None, typer.Option(help="A header field to compare; default: content-type, location.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="The longest to wait for a response, in seconds.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each request.")] = False,
) -> None:
    """Send the requests of an HTTP Archive to another server and print the differences of its responses.

    Without redirects and compression, one after the other. What was masked is not sent, and equal to everything.
    Ends with 1 if there is a difference.
    """
    server = urlsplit(to)
    if (
        server.scheme not in ("http", "https")
        or not server.hostname
        or server.path.strip("/")
        or server.query
    ):
        fail(f"`{to}` is not a valid server\n  hint: write `http://10.0.0.9:9000`", USAGE)
    names = [name.lower() for name in compare or ("content-type", "location")]
    sent = different = skipped = 0
    for entry in _entries(file):
        one = _replayed(entry, to, unsafe=unsafe, names=names, timeout=timeout)
        sent, skipped = sent + (not one.skipped), skipped + bool(one.skipped)
        different += bool(one.differences)
        if as_json:
            print(json.dumps(one.__dict__))
        elif one.differences:
            print(harmless(one.request))
            for line in one.differences:
                print(f"  {harmless(line)}")
    if not as_json:
        print(f"{sent} sent, {different} different, {skipped} skipped")
    if different:
        raise SystemExit(FAILURE)


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    try:
        if file.stat().st_size > MOST_FILE_BYTES:
            fail(f"`{file}` has more than {MOST_FILE_BYTES} bytes", USAGE)
        entries = json.loads(file.read_bytes())["log"]["entries"]
    except OSError as error:
        fail(f"`{file}` cannot be read: {error.strerror}", USAGE)
    except (ValueError, LookupError, TypeError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        fail(f"`{file}` is not an HTTP Archive\n  hint: `har-capture` writes them", USAGE)
    yield from entries


def _replayed(entry: Any, to: str, *, unsafe: bool, names: list[str], timeout: float) -> Replayed:
    try:
        asked, said = entry["request"], entry["response"]
        method, url = str(asked["method"]), urlsplit(str(asked["url"]))
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        one = Replayed(f"{method} {target}")
        if not METHOD.fullmatch(method) or not re.fullmatch(r"[\x21-\x7e]+", target):
            one.skipped = "the request is not valid"
        elif method not in SAFE and not unsafe:
            one.skipped = "it may change something"
        elif MASK in target:
            one.skipped = "a part of its target was masked"
        elif asked.get("postData") and kept_body(asked["postData"]) is None:
            one.skipped = "its body was not kept"
        if one.skipped:
            return one
        fields = [(str(pair["name"]), str(pair["value"])) for pair in asked["headers"]]
        body = kept_body(asked.get("postData") or {"text": ""})
        expected = {str(pair["name"]).lower(): str(pair["value"]) for pair in said["headers"]}
        status, content = int(said["status"]), said["content"]
    except (LookupError, TypeError, ValueError, AttributeError):
        return Replayed("(an entry)", skipped="the entry is not valid")
    try:
        got = _sent(to, f"{method} {target}", url.netloc, fields, body or None, timeout)
    except (OSError, http.client.HTTPException, ValueError) as error:
        one.differences.append(f"no response: {str(error) or type(error).__name__}")
        return one
    one.differences = [*heads(status, expected, got, names), *bodies(content, got)]
    return one


def _sent(
    to: str, request: str, host: str, fields: list[tuple[str, str]], body: bytes | None, timeout: float
) -> Got:
    server = urlsplit(to)
    kind = http.client.HTTPSConnection if server.scheme == "https" else http.client.HTTPConnection
    more: dict[str, Any] = {"context": ssl.create_default_context()} if server.scheme == "https" else {}
    connection = kind(server.hostname or "", server.port, timeout=timeout, **more)
    try:
        method, _, target = request.partition(" ")
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", host or server.netloc)
        for name, value in fields:
            if name.lower() not in NOT_SENT and MASK not in value and name[:1] != ":":
                connection.putheader(name, value.encode("utf-8", "surrogateescape"))
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        found = response.read(MOST_BODY_BYTES)
        return Got(response.status, {name.lower(): value for name, value in response.getheaders()}, found)
    finally:
        connection.close()
