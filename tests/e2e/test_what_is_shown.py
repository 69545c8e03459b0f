"""What clients send is shown as it is and as nothing else: in pages, JSON, header fields and all formats of logs."""

import json
import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from e2e.kit import RunningGateway, Serve, eventually
from e2e.kit.client import RawClient
from e2e.kit.http2 import Http2Client
from e2e.kit.net import free_port

HOSTILE = "<script>alert('x')</script>&\"\\\n2026-01-01T00:00:00.000Z error   [1] forged\r\x1b[2J\u202e\x9b"
VALUE = quote(HOSTILE.encode(), safe="")

GATE = """
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.access_log(FORMAT, to="file:access.log", flush="20ms")
gate.error_log(format=ERRORS, level="debug", to="file:errors.log")

def name(request):
    return request.params["name"]

@gate.route("/server/{name}")
def chooses(request):
    request.upstream = name(request)

@gate.route("/raises/{name}")
def raises(request):
    raise ValueError(name(request))

@gate.route("/header/{name}")
def header(request):
    return Response(200, headers={"x-name": name(request)})

@gate.route("/redirect/{name}")
def redirects(request):
    return Response.redirect("/to/" + name(request))

@gate.route("/cookie/{name}")
def cookie(request):
    response = Response(200)
    response.set_cookie("name", name(request))
    return response

@gate.route("/json/{name}")
def as_json(request):
    return Response.json({"name": name(request), "path": request.path})

gate.route("/respond/{name}", respond="fixed")
gate.route("/location/{name}", redirect="/to/{name}?from={name}&at={path}")

@gate.route("/down/{name}", to=CLOSED)
def down(request):
    request.headers["x-name"] = name(request)

up = gate.upstream("up", CLOSED)

@gate.error
def failed(request, error):
    if request.headers.get("accept") == "text/plain":
        return Response(error.status, f"{error.kind}: {error.message}")

@gate.route("/log/{name}")
def log(request):
    import logging
    logging.getLogger("headgate.user").warning("seen %s", name(request), extra={"value": name(request)})
    return Response(200)
"""
PLACES = ("server", "raises", "header", "redirect", "cookie", "json", "respond", "location", "down", "log")


class Texts(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module", params=[("json", "json"), ("combined", "text"), ("custom", "text")])
def gateway(serve_module: Serve, request: pytest.FixtureRequest) -> RunningGateway:
    format, errors = request.param
    names = {
        "FORMAT": "{host}|{target}|{user_agent}|{referer}|{error}|{route}" if format == "custom" else format,
        "ERRORS": errors,
        "CLOSED": f"127.0.0.1:{free_port()}",
    }
    return serve_module(GATE, names=names)


@pytest.mark.parametrize("accept", ["text/html", "application/json", "text/plain"])
@pytest.mark.parametrize("place", PLACES)
def test_a_hostile_value_stays_a_value_over_both_versions(
    gateway: RunningGateway, place: str, accept: str
) -> None:
    fields = [("accept", accept), ("user-agent", "<b>\"'\\\t\xa0</b>"), ("referer", "http://x/\"'<")]
    with RawClient(gateway.address) as one:
        raw = "".join(f"{name}: {value}\r\n" for name, value in fields)
        one.send(f"GET /{place}/{VALUE} HTTP/1.1\r\nhost: gate.test\r\n{raw}\r\n".encode("latin-1"))
        first = one.response()
        assert one.get("/respond/x").text == "fixed"  # nothing was left over
    with Http2Client(gateway.address) as two:
        second = two.get(f"/{place}/{VALUE}", fields[:1])
    assert first.status == second.status
    assert first.get("location") == second.get("location")
    for body, kind, names in (
        (first.body, first.get("content-type"), {name.lower() for name, _ in first.fields}),
        (second.body, second.get("content-type"), {name for name, _ in second.fields}),
    ):
        assert names <= EXPECTED, names - EXPECTED
        if kind and kind.startswith("text/html"):
            assert Texts(body.decode()).tags <= PAGE_TAGS
        elif kind and "json" in kind:
            assert isinstance(json.loads(body), dict)
    location = first.get("location")
    assert location is None or re.fullmatch(r"/to/[!#-;=?-\[\]_a-z~]+", location)


EXPECTED = {
    *(":status", "date", "content-type", "content-length", "x-request-id"),
    *("location", "set-cookie", "connection"),
}
"""All fields that these responses may have."""
PAGE_TAGS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "b", "p", "code"}
"""What the gateway's own pages are made of."""


def test_each_single_byte_anywhere_leaves_one_line_that_can_be_read(gateway: RunningGateway) -> None:
    access = gateway.folder / "access.log"
    places = (
        b"GET /a%sb HTTP/1.1\r\nhost: gate.test\r\n\r\n",
        b"GET /%%%02x HTTP/1.1\r\nhost: gate.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a%sb\r\n\r\n",
        *(
            b"GET / HTTP/1.1\r\nhost: gate.test\r\n" + name + b": a%sb\r\n\r\n"
            for name in (b"user-agent", b"cookie", b"referer")
        ),
    )
    gateway.get("/the-first")
    eventually(lambda: "/the-first" in access.read_text(), "the lines before")
    before, responses = len(access.read_text().splitlines()), 0
    for place in places:
        for number in range(256):
            value = number if b"%02x" in place else bytes([number])
            with RawClient(gateway.address) as client:
                client.send(place % value)
                assert client.response().status in (200, 400, 404, 505), (place, number)
                responses += 1
    gateway.get("/the-last")
    eventually(lambda: "/the-last" in access.read_text(), "the last line")
    lines = access.read_text().splitlines()[before:]
    assert len(lines) == responses + 1
    for line in lines:
        assert line.isprintable()
        if line.startswith("{"):
            assert isinstance(json.loads(line), dict)
        else:
            assert line.count('"') in (0, 6)  # as many as the format has


def test_each_request_is_one_line_of_the_logs(gateway: RunningGateway) -> None:
    before = gateway.log()
    for place in PLACES:
        gateway.get(f"/{place}/{VALUE}", [("user-agent", 'a"b\\')])
    gateway.get("/last")
    access, errors = gateway.folder / "access.log", gateway.folder / "errors.log"
    eventually(lambda: "/last" in access.read_text(), "the last line")
    for line in access.read_text().splitlines():
        assert line.isprintable()
        if line.startswith("{"):
            json.loads(line)
        else:
            assert re.fullmatch(r'[^"]*("[^"]*"[^"]*)*', line)
    text = errors.read_text()
    assert text.count("seen ") >= 1
    for line in text.split("\n"):
        assert line.isprintable()
        assert not line or line.startswith(("{", "  ")) or re.match(r"20[\dT:.-]+Z \w+ +\[\d{2,}\]", line)
        if line.startswith("{"):
            json.loads(line)
    assert gateway.log() == before  # nothing that the log could not take was told on stderr
