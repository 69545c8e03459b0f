"""compression: which responses are coded for whom, what the head says then, and that nothing waits in it."""

import json
import sys
import time
import zlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import brotli
import pytest
import zstandard

from headgate import ConfigError, Gateway, Response
from headgate.plugins import Compression, SubFilter
from headgate.plugins._codings import _chosen, chosen, encoder, gzip_library
from headgate.testing import TestGateway

SERVER = "server.test:80"
TEXT = "some text that is said again and again " * 100
RECORDS = json.dumps(
    [{"id": 7919 * n % 10007, "name": f"name {n}", "is_new": n % 3 == 0} for n in range(90)]
).encode()
ALL = ["zstd", "br", "gzip"]
DECODE = {
    "gzip": lambda data: zlib.decompress(data, 47),
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


@pytest.fixture(params=[True, False], ids=["natively", "in python"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs both ways."""
    monkeypatch.setattr(sys.modules[__name__], "TestGateway", partial(TestGateway, native=request.param))


def running(server: Any = None, **settings: Any) -> TestGateway:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(Compression(**{"codings": ALL, **settings}))
    return TestGateway(gate, upstreams={SERVER: server or page()})


def page(text: str | bytes = TEXT, status: int = 200, **fields: str) -> Response:
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    return Response(status, text, headers=[("content-type", "text/html; charset=utf-8"), *given.items()])


@pytest.mark.parametrize("coding", ALL)
@pytest.mark.parametrize("level", [None, 1, 9])
def test_the_body_comes_back(coding: str, level: int | None) -> None:
    levels = {} if level is None else {coding: level}
    with running(levels=levels) as gateway:
        response = gateway.get("/", {"accept-encoding": coding})
        assert response.headers["content-encoding"] == coding
        assert response.headers["vary"] == "Accept-Encoding"
        assert len(response.body) < len(TEXT) / 5
        assert DECODE[coding](response.body).decode() == TEXT


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("zstd;q=0, *", "br"),
        ("*", "zstd"),
        ("*;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("gzip;q=0", None),
        ("gzip;q=0.000", None),
        ("gzip;q=2", None),
        ("gzip;q=x", None),
        ("deflate", None),
        ("", None),
        (",,,", None),
        ("gzip, " * 10_000, "gzip"),
    ],
)
def test_the_client_chooses(accept: str, coding: str | None) -> None:
    assert chosen(accept, tuple(ALL)) == coding


@pytest.mark.parametrize(
    "server",
    [
        page("short"),
        page(status=206, content_range="bytes 0-1/5"),
        page(cache_control="public, no-transform"),
        page(content_encoding="br"),
        page(content_encoding="unknown"),
    ],
)
def test_some_bodies_stay_as_they_are(server: Response) -> None:
    with running(server) as gateway:
        response = gateway.get("/", {"accept-encoding": "gzip"})
        assert response.headers.get("content-encoding") == server.headers.get("content-encoding")
        assert response.body == server.body
        assert response.headers["vary"] == "Accept-Encoding"


def test_other_types_are_left_alone() -> None:
    with running(Response(200, TEXT.encode(), headers=[("content-type", "image/png")])) as gateway:
        response = gateway.get("/", {"accept-encoding": "gzip"})
        assert {"content-encoding", "vary"} & set(response.headers) == set()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (None, ["Accept-Encoding"]),
        ("Origin", ["Origin", "Accept-Encoding"]),
        ("*", ["*"]),
        ("accept-encoding", ["accept-encoding"]),
    ],
)
def test_vary_stands_wherever_it_could_have_counted(said: str | None, told: list[str]) -> None:
    more = {} if said is None else {"vary": said}
    for method, accept in (("GET", "gzip"), ("GET", ""), ("HEAD", "gzip")):
        with running(page(**more)) as gateway:
            response = gateway.request(method, "/", {"accept-encoding": accept})
            assert response.headers.get_all("vary") == told
    with running(Response(304, headers=list(more.items()))) as gateway:
        assert gateway.get("/", {"accept-encoding": "gzip"}).headers.get_all("vary") == told


def test_entity_tags_become_weak_and_are_understood_again() -> None:
    with running(page(etag='"a"')) as gateway:
        assert gateway.get("/", {"accept-encoding": "gzip"}).headers["etag"] == 'W/"a"'
        gateway.get("/", {"accept-encoding": "gzip", "if-none-match": 'W/"a", "b"'})
        assert gateway.received[-1].headers["if-none-match"] == 'W/"a", "b", "a"'
        gateway.get("/", {"accept-encoding": "gzip", "if-none-match": 'W/"a, b,c", *'})
        assert gateway.received[-1].headers["if-none-match"] == 'W/"a, b,c", *, "a, b,c"'
        gateway.get("/", {"if-none-match": 'W/"a"'})
        assert gateway.received[-1].headers["if-none-match"] == 'W/"a"'
    with running(Response(304, headers=[("etag", '"a"')])) as gateway:
        assert gateway.get("/", {"accept-encoding": "gzip"}).headers["etag"] == 'W/"a"'


def test_what_describes_the_old_body_is_no_lie() -> None:
    with running(page(content_digest="sha-256=:x:", accept_ranges="bytes", content_md5="x")) as gateway:
        response = gateway.get("/", {"accept-encoding": "gzip", "range": "bytes=0-1"})
        assert {"content-digest", "accept-ranges", "content-md5"} & set(response.headers) == set()
        assert "range" not in gateway.received[0].headers
        assert response.headers.get("content-length", str(len(response.body))) == str(len(response.body))


def test_requests_with_cookies_from_other_sites_get_it_plain() -> None:
    cross = {"accept-encoding": "gzip", "sec-fetch-site": "cross-site"}
    with running() as gateway:
        assert "content-encoding" not in gateway.get("/", {**cross, "cookie": "a=b"}).headers
        assert "content-encoding" in gateway.get("/", cross).headers
        same = {**cross, "cookie": "a=b", "sec-fetch-site": "same-origin"}
        assert "content-encoding" in gateway.get("/", same).headers
    with running(cross_site=True) as gateway:
        assert "content-encoding" in gateway.get("/", {**cross, "cookie": "a=b"}).headers


def test_it_runs_after_plugins_that_change_bodies() -> None:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(Compression())
    gate.use(SubFilter(replace=[{"find": "said again", "by": "not said"}]))
    with TestGateway(gate, upstreams={SERVER: page()}) as gateway:
        body = gateway.get("/", {"accept-encoding": "gzip"}).body
        assert zlib.decompress(body, 47).decode() == TEXT.replace("said again", "not said")


@pytest.mark.parametrize("coding", ALL)
def test_a_body_in_chunks_comes_back(coding: str) -> None:
    async def rows() -> AsyncIterator[bytes]:
        for number in range(1000):
            yield b"row %d\n" % number

    gate = Gateway()

    @gate.route("/")
    def rows_of(request: Any) -> Response:
        return Response.stream(rows(), content_type="application/x-ndjson")

    gate.use(Compression(codings=[coding]))
    with TestGateway(gate) as gateway:
        response = gateway.get("/", {"accept-encoding": coding})
        assert DECODE[coding](response.body).count(b"\n") == 1000


def test_choosing_takes_linear_time() -> None:
    began = time.process_time()
    for text in (" " * 100_000, ";q=" * 50_000, "a" * 100_000, "gzip;q=0." + "0" * 100_000):
        chosen(text, tuple(ALL))
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "settings",
    [
        {"codings": []},
        {"codings": ["deflate"]},
        {"codings": ["gzip", "gzip"]},
        {"levels": {"gzip": 0}},
        {"levels": {"br": 12}},
        {"levels": {"zstd": 22}},
        {"types": ["html"]},
        {"min_length": -1},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Compression(**settings)


def test_a_body_that_is_coded_by_a_second_field_stays() -> None:
    fields = [("content-type", "text/html"), ("content-encoding", "identity"), ("content-encoding", "x-own")]
    with running(Response(200, TEXT, headers=fields)) as gateway:
        response = gateway.get("/", {"accept-encoding": "gzip"})
        assert response.text == TEXT and response.headers.get_all("content-encoding") == ["identity", "x-own"]


def test_what_is_remembered_of_clients_is_short() -> None:
    _chosen.cache_clear()
    assert chosen("gzip" + " " * 100_000, ("gzip",)) == chosen("gzip" + " " * 200_000, ("gzip",))
    before = _chosen.cache_info().misses
    for count in range(10):
        chosen("gzip, " + "x" * (5000 + count), ("gzip",))
    assert _chosen.cache_info().misses == before + 1


@pytest.mark.parametrize("level", range(1, 10))
def test_gzip_is_about_as_small_as_that_of_zlib_and_each_chunk_can_be_read_when_it_comes(level: int) -> None:
    assert (gzip_library(level) is zlib) == (level == 2)
    encode, decode = encoder("gzip", level), zlib.decompressobj(47)
    parts = [RECORDS[:100], RECORDS[100:101], b"", RECORDS[101:]]
    read = [decode.decompress(encode(part, number == 3)) for number, part in enumerate(parts)]
    assert read == parts
    assert decode.eof
    ours = len(encoder("gzip", level)(RECORDS, True))
    assert ours <= 1.03 * len(zlib.compress(RECORDS, level, wbits=31))


def test_gzip_needs_no_library_beside_that_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("isal.isal_zlib", "zlib_ng.zlib_ng"):
        monkeypatch.setitem(sys.modules, name, None)
    gzip_library.cache_clear()
    try:
        assert gzip_library(1) is gzip_library(6) is zlib
        assert zlib.decompress(encoder("gzip", 6)(RECORDS, True), 47) == RECORDS
    finally:
        gzip_library.cache_clear()
