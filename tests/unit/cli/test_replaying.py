"""`headgate replay`: what is sent of an archive, what is compared, and archives that are none."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Call, Origin
from typer.testing import CliRunner

from headgate.cli.app import app


@pytest.fixture
def server() -> Iterator[Origin]:
    with Origin() as server:
        yield server


def entry(
    target: str = "/a?b=1", method: str = "GET", status: int = 200, text: str | None = "ok", **more: Any
) -> dict[str, Any]:
    asked = {
        "method": method,
        "url": f"http://site.example{target}",
        "headers": more.pop("headers", []),
        **more,
    }
    content = {"size": 2, "mimeType": "text/plain", **({} if text is None else {"text": text})}
    said = {
        "status": status,
        "headers": [{"name": "Content-Type", "value": "text/plain"}],
        "content": content,
    }
    return {"request": asked, "response": said}


def run(folder: Path, server: Origin, *entries: Any, options: tuple[str, ...] = ()) -> Any:
    file = folder / "a.har"
    file.write_text(json.dumps({"log": {"version": "1.2", "entries": list(entries)}}))
    return CliRunner().invoke(app, ["replay", str(file), "--to", f"http://{server.address}", *options])


def says(server: Origin, path: str, body: bytes, status: str = "200 OK", kind: str = "text/plain") -> None:
    def respond(call: Call) -> None:
        call.read_body()
        call.respond(body, status=status, fields=[("Content-Type", kind)])

    server.on(path, respond)


def test_the_same_responses_are_no_difference(tmp_path: Path, server: Origin) -> None:
    says(server, "/a", b"ok")
    headers = [("x-a", "1"), ("cookie", "***"), ("accept-encoding", "br"), (":path", "/"), ("Host", "x")]
    one = entry(headers=[{"name": name, "value": value} for name, value in headers])
    result = run(tmp_path, server, one)
    assert (result.exit_code, result.stdout) == (0, "1 sent, 0 different, 0 skipped\n")
    (call,) = server.calls
    assert (call.target, call.all("host"), call.get("x-a")) == ("/a?b=1", ["site.example"], "1")
    assert (call.get("cookie"), call.get("accept-encoding")) == (None, None)


def test_differences_are_told(tmp_path: Path, server: Origin) -> None:
    says(server, "/a", b"other", status="500 Oops", kind="text/html")
    result = run(tmp_path, server, entry())
    assert result.exit_code == 1
    for line in ("status: 200 -> 500", "content-type: text/plain -> text/html", "body: 2 -> 5 bytes"):
        assert line in result.stdout


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"a": [1, {"b": 2}], "c": "***"}, {"c": [1], "a": [1, {"b": 2}]}, None),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "$.a[1].b: 2 -> 3"),
        ({"a": 1}, {}, "$.a is missing"),
        ({}, {"a": 1}, "$.a is new"),
        ([1], [1, 2], "$: [1] -> [1, 2]"),
    ],
)
def test_json_is_compared_by_value(
    tmp_path: Path, server: Origin, before: Any, after: Any, told: str | None
) -> None:
    says(server, "/a", json.dumps(after).encode())
    result = run(tmp_path, server, entry(text=json.dumps(before)))
    assert (result.exit_code == 1) == (told is not None)
    assert told is None or told in result.stdout


def test_only_what_changes_nothing_is_sent_unless_asked_for(tmp_path: Path, server: Origin) -> None:
    says(server, "/a", b"ok")
    body = {"mimeType": "x", "text": base64.b64encode(b"\xff").decode(), "encoding": "base64"}
    one = entry(method="POST", postData=body)
    assert "0 sent, 0 different, 1 skipped" in run(tmp_path, server, one).stdout
    assert "1 sent" in run(tmp_path, server, one, options=("--unsafe",)).stdout
    assert [(call.method, call.body) for call in server.calls] == [("POST", b"\xff")]


@pytest.mark.parametrize(
    "one",
    [
        entry("/?token=***"),
        entry("/a b"),
        entry(method="GET\r\nX: y"),
        entry(postData={"text": "", "comment": "the body has more than 5 bytes"}),
        {},
        5,
        {"request": {"method": "GET", "url": "http://[", "headers": []}},
    ],
)
def test_what_cannot_be_sent_is_skipped(tmp_path: Path, server: Origin, one: Any) -> None:
    result = run(tmp_path, server, one)
    assert (result.exit_code, result.stdout) == (0, "0 sent, 0 different, 1 skipped\n")
    assert server.calls == []


def test_a_header_of_two_lines_is_not_sent(tmp_path: Path, server: Origin) -> None:
    one = entry(headers=[{"name": "x-a", "value": "1\r\nx-b: 2"}])
    assert "no response" in run(tmp_path, server, one).stdout
    assert server.calls == []


def test_a_server_that_is_not_there_is_a_difference(tmp_path: Path) -> None:
    with Origin() as server:
        pass
    result = run(tmp_path, server, entry(), options=("--json",))
    assert result.exit_code == 1
    assert "no response" in json.loads(result.stdout)["differences"][0]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"log": 5}', '{"log": {"entries": {}}}', "[" * 100_000])
def test_what_is_no_archive_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.har").write_text(text)
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "a.har"), "--to", "http://a:1"])
    assert result.exit_code == 2
    assert "is not an HTTP Archive" in result.stderr


@pytest.mark.parametrize("to", ["a:1", "ftp://a", "http://", "http://a/path"])
def test_what_is_no_server_is_refused(tmp_path: Path, to: str) -> None:
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "a.har"), "--to", to])
    assert result.exit_code == 2
    assert "is not a valid server" in result.stderr
