"""Commands whose request is refused for now make it again, as the Admin API tells, and not for ever."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headgate.cli import retrying
from headgate.cli.admin_client import AdminClient
from headgate.cli.retrying import retry_after_s

UNAVAILABLE = b'{"detail": "the gateway is loading its file anew", "hint": "try again"}'
Told = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    """Gives one response after the other, the last one again and again; keeps what it was asked."""

    def __init__(self, responses: list[Told]) -> None:
        self.responses, self.asked = list(responses), list[tuple[str, bytes]]()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append((self.path, body))
        told = self.server.responses
        status, fields, content = told.pop(0) if len(told) > 1 else told[0]
        self.send_response(status)
        for name, value in {**fields, "content-length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(request.param) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def put(server: Server) -> int:
    client = AdminClient(f"http://127.0.0.1:{server.server_address[1]}")
    return client.ask("PUT", "/v1/routes/a", {"path": "/a"}).status


NOT_NOW: Told = (503, {"retry-after": "0"}, UNAVAILABLE)
PAGE: Told = (503, {"retry-after": "0"}, b"<p>an error page</p>")
DONE: Told = (200, {}, b"{}")


@pytest.mark.parametrize("server", [[NOT_NOW, PAGE, DONE]], indirect=True)
def test_what_is_refused_for_now_is_asked_again_until_it_is_done(server: Server) -> None:
    assert put(server) == 200
    assert server.asked == [("/v1/routes/a", b'{"path": "/a"}')] * 3


@pytest.mark.parametrize(
    "server",
    [
        [(503, {}, UNAVAILABLE), DONE],
        [(503, {"retry-after": "soon"}, UNAVAILABLE), DONE],
        [(503, {"retry-after": "3600"}, UNAVAILABLE), DONE],
        [(429, {"retry-after": "0"}, UNAVAILABLE), DONE],
    ],
    ids=["not told", "unreadable", "too long", "another status"],
    indirect=True,
)
def test_what_tells_no_time_or_too_long_a_time_is_refused_at_once(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        put(server)
    assert len(server.asked) == 1
    assert "loading its file anew" in capsys.readouterr().err


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("server", [[(503, {"retry-after": "3"}, UNAVAILABLE)]], indirect=True)
def test_one_that_is_never_done_is_given_up(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "time", Clock())
    with pytest.raises(SystemExit):
        put(server)
    assert len(server.asked) == 4  # at 0, 3, 6 and 9 of 10 seconds
    assert "loading its file anew" in capsys.readouterr().err


def test_both_forms_of_the_field_are_read() -> None:
    assert retry_after_s({"retry-after": " 3 "}, 0) == 3
    assert retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:00:07 GMT"}, 2) == 5
    assert retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:00:07 GMT"}, 100) == retrying.LEAST_WAIT_S
    assert [retry_after_s({"retry-after": text}, 0) for text in ("", "-1", "1.5", "\u0663", "x")] == [
        None
    ] * 5
