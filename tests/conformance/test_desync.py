"""All request cases of the desync collection over real sockets, against the verdicts in `tests/data/desync`.

A case that is refused gets its status, the connection is closed, and the server never hears of it. A case that passes,
or is normalised, arrives with framing that can be read in one way only.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.kit import Call, Origin, RunningGateway, Serve

DATA = Path(__file__).parent.parent / "data" / "desync"
CASES = 158

MARKER = b"GET /smuggled-or-not HTTP/1.1\r\nHost: marker.test\r\n\r\n"
"""What follows each case: a request of its own if the case is refused or passes as it should."""


@dataclass(frozen=True)
class Case:
    """A case and what is to become of it."""

    file: str
    index: int
    name: str
    verdict: str
    status: int | None
    request: bytes
    method: str

    def __str__(self) -> str:
        return f"{self.file.removesuffix('.yaml')}-{self.index}-{self.verdict}"


def load() -> list[Case]:
    """The cases with their verdicts, in the order of the table."""
    documents = {path.name: yaml.safe_load(path.read_text()) for path in DATA.glob("*.yaml")}
    table: list[dict[str, Any]] = json.loads((DATA / "verdicts.json").read_text())
    cases = []
    for row in table:
        case = documents[row["file"]][row["index"]]
        assert case["name"] == row["name"], row
        cases.append(
            Case(
                row["file"],
                row["index"],
                row["name"],
                row["verdict"],
                row.get("status"),
                written(case),
                case["method"],
            )
        )
    return cases


def written(case: dict[str, Any]) -> bytes:
    """The bytes of a case's head, as the README of the data says."""
    headers = [(str(header["name"]), str(header["value"])) for header in case["headers"] or []]
    if not any(name.lower() == "host" for name, _ in headers):
        headers.insert(0, ("Host", "localhost"))
    lines = [
        f"{case['method']} {case['uri']} {case['version']}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


ALL = load()


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module({"routes": [{"to": origin.address}], "timeouts": {"client_body": "10s"}})


def test_every_case_has_a_verdict() -> None:
    listed = {
        (path.name, n) for path in DATA.glob("*.yaml") for n in range(len(yaml.safe_load(path.read_text())))
    }
    assert {(case.file, case.index) for case in ALL} == listed
    assert len(ALL) == CASES


@pytest.mark.parametrize("case", [case for case in ALL if case.verdict == "refuse"], ids=str)
def test_refused_case_gets_an_error_and_is_closed(
    gateway: RunningGateway, origin: Origin, case: Case
) -> None:
    with gateway.client() as client:
        client.send(case.request + MARKER)
        response = client.response(case.method)
        assert response.status == case.status
        assert response.get("connection") == "close"
        assert client.read_to_end() == b""
    assert origin.calls == []
    assert origin.received == b""


@pytest.mark.parametrize("case", [case for case in ALL if case.verdict != "refuse"], ids=str)
def test_case_that_passes_arrives_with_one_reading(
    gateway: RunningGateway, origin: Origin, case: Case
) -> None:
    with gateway.client() as client:
        body = body_of(case)
        client.send(case.request + body)
        response = client.response(case.method)
        assert response.status == 200
        if response.get("connection") != "close":
            client.send(MARKER)
            assert client.response().json()["target"] == "/smuggled-or-not"
    arrived, *rest = origin.calls
    assert [call.target for call in rest] in ([], ["/smuggled-or-not"])
    assert_one_reading(arrived)
    assert arrived.body == payload(body)


def body_of(case: Case) -> bytes:
    """A body that fits the framing of a case that passes."""
    for line in case.request.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"transfer-encoding":
            return b"3\r\nabc\r\n0\r\n\r\n"
        if name == b"content-length":
            return b"x" * int(value)
    return b""


def payload(body: bytes) -> bytes:
    """The content within a body made by `body_of`."""
    return b"abc" if body.endswith(b"0\r\n\r\n") else body


def assert_one_reading(call: Call) -> None:
    """The head that arrived is plain: one version, one length or one coding, one host, no byte out of place."""
    assert call.version == "HTTP/1.1"
    lengths, codings = call.all("content-length"), call.all("transfer-encoding")
    assert len(lengths) + len(codings) <= 1
    assert all(length.isdecimal() for length in lengths)
    assert len(codings) <= 1
    assert all(coding.split(", ").count("chunked") == 1 and coding.endswith("chunked") for coding in codings)
    assert len(call.all("host")) == 1
    lines = call.head[:-4].split(b"\r\n")
    assert lines[0].count(b" ") == 2
    for line in lines[1:]:
        name = line.partition(b":")[0]
        assert name and not set(name) & set(b" \t\x00\x7f"), line
        assert not set(line) & set(b"\x00\r\n"), line
