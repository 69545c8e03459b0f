"""decompression: every way to code a body is undone, and what grows too much is not."""

import gzip
import random
import zlib
from typing import Any

import brotli
import pytest
import zstandard

from headgate import ConfigError, Gateway, Response
from headgate.plugins import Decompression
from headgate.plugins._bodies import BadBody
from headgate.plugins._decoding import decoder
from headgate.testing import Received, TestGateway, TestResponse

SERVER = "server.test:80"
TEXT = b"".join(b"%d," % n for n in range(3000))


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


CODED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:]),
    "deflate": zlib.compress(TEXT),
    "br": brotli.compress(TEXT),
    "zstd": zstandard.compress(TEXT),
}
ALL = {"codings": ["gzip", "deflate", "br", "zstd"]}


@pytest.mark.parametrize("step", [1, 7, 100_000])
@pytest.mark.parametrize(
    ("coding", "body"),
    [
        *((name.removeprefix("x-"), body) for name, body in CODED.items()),
        ("deflate", raw_deflate(TEXT)),
        ("zstd", zstandard.compress(TEXT[:100]) + zstandard.compress(TEXT[100:])),
    ],
)
def test_what_is_decoded_does_not_depend_on_how_it_is_cut(coding: str, body: bytes, step: int) -> None:
    stream = decoder(coding)
    made = b"".join(stream.decoded(body[at : at + step], len(TEXT)) for at in range(0, len(body), step))
    assert made == TEXT and stream.is_whole


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_garbage_and_what_is_cut_off_is_noticed(coding: str) -> None:
    stream = decoder(coding)
    stream.decoded(CODED[coding][:-5], len(TEXT))
    assert not stream.is_whole
    chance = random.Random(1)
    for _ in range(200):
        body = bytearray(CODED[coding])
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        try:
            decoder(coding).decoded(bytes(body), 1_000_000)
        except BadBody as error:
            assert error.status in (400, 413)


def bomb(coding: str, size: int = 1 << 30) -> bytes:
    block = bytes(1 << 20)
    if coding == "gzip":
        stream: Any = zlib.compressobj(9, wbits=31)
    elif coding == "deflate":
        stream = zlib.compressobj(9)
    elif coding == "br":
        made = brotli.Compressor(quality=5, lgwin=22)
        return b"".join(made.process(block) for _ in range(size >> 20)) + bytes(made.finish())
    else:
        stream = zstandard.ZstdCompressor(level=3).compressobj()
    return b"".join(stream.compress(block) for _ in range(size >> 20)) + bytes(stream.flush())


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_is_never_whole_in_memory(coding: str) -> None:
    import tracemalloc

    body = bomb(coding, 256 << 20)
    tracemalloc.start()
    with pytest.raises(BadBody):
        decoder(coding).decoded(body, 4 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24 << 20


def ask(
    body: bytes | None = None, headers: Any = (), server: Any = "ok", **config: Any
) -> tuple[TestResponse, Received | None]:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(Decompression(**config))
    with TestGateway(gate, upstreams={SERVER: server}) as gateway:
        response = gateway.request("POST" if body else "GET", "/", headers, body=body)
        return response, gateway.received[0] if gateway.received else None


def replied(body: bytes, coding: str, headers: Any = (), **more: Any) -> TestResponse:
    fields = {"content-type": "text/x", "content-encoding": coding, "etag": '"1"', **more}
    return ask(headers=headers, server=Response(200, body, headers=fields), **ALL)[0]


@pytest.mark.parametrize("coding", CODED)
def test_servers_get_requests_without_their_coding(coding: str) -> None:
    fields = {"content-type": "text/x", "content-encoding": coding, "content-md5": "x"}
    _, received = ask(CODED[coding], fields)
    assert received is not None and received.body == TEXT
    assert (
        received.headers["content-length"] == str(len(TEXT)) and received.headers["content-type"] == "text/x"
    )
    assert not {"content-encoding", "content-md5"} & set(received.headers)


@pytest.mark.parametrize("coding", ["gzip, gzip", "compress", "gzip, br", "x"])
def test_other_codings_are_refused_or_passed_on(coding: str) -> None:
    response, received = ask(b"x", {"content-encoding": coding})
    assert (response.status, received) == (415, None) and "zstd" in response.headers["accept-encoding"]
    _, received = ask(b"x", {"content-encoding": coding}, other_codings="pass")
    assert received is not None and received.body == b"x" and received.headers["content-encoding"] == coding


def test_identity_is_no_coding() -> None:
    _, received = ask(b"x", {"content-encoding": "identity"})
    assert received is not None and received.body == b"x"


@pytest.mark.parametrize(
    ("body", "config", "status"),
    [
        (gzip.compress(bytes(200_000)), {}, 413),
        (gzip.compress(bytes(200_000)), {"max_ratio": 2000}, 200),
        (gzip.compress(bytes(60_000)), {}, 200),
        (gzip.compress(random.Random(1).randbytes(20_000)), {"max_bytes": 19_999}, 413),
        (gzip.compress(random.Random(1).randbytes(20_000)), {"max_bytes": 20_100}, 200),
        (bomb("gzip", 64 << 20), {"max_ratio": 10_000}, 413),
        (b"no gzip", {}, 415),
        (gzip.compress(TEXT)[:-9], {}, 415),
    ],
    ids=["ratio", "high ratio", "small", "too large", "not too large", "bomb", "nonsense", "cut"],
)
def test_bombs_and_garbage_are_refused(body: bytes, config: Any, status: int) -> None:
    response, received = ask(body, {"content-encoding": "gzip"}, **config)
    assert response.status == status and (received is None) == (status != 200)


@pytest.mark.parametrize("coding", CODED)
def test_clients_get_responses_in_codings_that_they_take(coding: str) -> None:
    plain = replied(CODED[coding], coding)
    assert plain.body == TEXT and "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "Accept-Encoding" and plain.headers["etag"] == 'W/"1"'
    coded = replied(CODED[coding], coding, {"accept-encoding": coding})
    assert coded.body == CODED[coding] and coded.headers["content-encoding"] == coding
    assert coded.headers["vary"] == "Accept-Encoding" and coded.headers["etag"] == '"1"'


def test_what_may_not_be_decoded_stays_as_it_is() -> None:
    for more in ({"cache-control": "no-transform"}, {"content-encoding": "gzip, gzip"}):
        response = replied(CODED["gzip"], "gzip", **more)
        assert response.body == CODED["gzip"]
    assert ask(server=Response(200, CODED["br"], headers={"content-encoding": "br"}))[0].body == CODED["br"]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_response_that_grows_too_much_is_a_502(coding: str) -> None:
    response = replied(bomb(coding, 64 << 20), coding)
    assert response.status == 502 and response.json()["error"]


@pytest.mark.parametrize(
    "settings",
    [
        {"request": False, "response": "never"},
        {"request": False, "codings": []},
        {"codings": ["lzma"]},
        {"max_ratio": 1},
        {"max_bytes": 0},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Decompression(**settings)
