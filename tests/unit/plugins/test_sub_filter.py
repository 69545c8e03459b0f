"""sub-filter: however a body is cut or coded, the same texts are replaced, and what describes the old body is gone."""

import gzip
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate import ConfigError, Gateway, Response
from headgate.plugins import SubFilter
from headgate.plugins.sub_filter import Stream, Text
from headgate.testing import TestGateway, TestResponse

SERVER = "server.test:80"


def cut(body: bytes, cuts: list[int], texts: tuple[Text, ...]) -> bytes:
    stream, places = Stream(texts), sorted({min(one, len(body)) for one in cuts})
    pieces = [body[begin:end] for begin, end in zip([0, *places], [*places, len(body)], strict=True)]
    return b"".join([*(stream.replaced(one, last=False) for one in pieces), stream.replaced(b"", last=True)])


def whole(body: bytes, texts: tuple[Text, ...]) -> bytes:
    """At each place the first text that stands there, one byte after the other."""
    made, at, spent = [], 0, set()
    while at < len(body):
        for number, one in enumerate(texts):
            part = body[at : at + len(one.find)]
            same = part.lower() == one.find.lower() if one.ignores_case else part == one.find
            if same and number not in spent:
                made.append(one.by)
                at += len(one.find)
                if one.once:
                    spent.add(number)
                break
        else:
            made.append(body[at : at + 1])
            at += 1
    return b"".join(made)


LETTERS = st.text("abAB", max_size=30).map(str.encode)
TEXTS = st.lists(
    st.builds(
        Text, st.text("abAB", min_size=1, max_size=5).map(str.encode), LETTERS, st.booleans(), st.booleans()
    ),
    min_size=1,
    max_size=4,
).map(tuple)


@given(LETTERS, st.lists(st.integers(0, 30), max_size=8), TEXTS)
def test_the_result_does_not_depend_on_how_a_body_is_cut(
    body: bytes, cuts: list[int], texts: tuple[Text, ...]
) -> None:
    assert cut(body, cuts, texts) == whole(body, texts)


def test_only_what_may_begin_a_text_is_held_back() -> None:
    stream = Stream((Text(b"abcd", b"-", False, False),))
    assert [stream.replaced(one, last=False) for one in (b"x\n", b"xab", b"c", b"e", b"a", b"bcd")] == [
        b"x\n",
        b"x",
        b"",
        b"abce",
        b"",
        b"-",
    ]
    assert stream.replaced(b"ab", last=True) == b"ab"


def ask(server: Any, *, headers: Any = (), method: str = "GET", **settings: Any) -> tuple[TestResponse, Any]:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(SubFilter(**{"replace": [{"find": "old", "by": "new"}], **settings}))
    with TestGateway(gate, upstreams={SERVER: server}) as gateway:
        return gateway.request(method, "/", headers), gateway.received[0]


def page(body: bytes | str = "old", kind: str = "text/html", status: int = 200, **fields: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return Response(status, body, headers={"content-type": kind, **named})


async def byte_by_byte(body: bytes) -> AsyncIterator[bytes]:
    for number in range(len(body)):
        yield body[number : number + 1]


def test_a_text_that_comes_byte_by_byte_is_replaced() -> None:
    body = b"<p>gold olold</p>"
    streamed = lambda _: Response.stream(byte_by_byte(body), headers={"content-type": "text/html"})  # noqa: E731
    assert ask(streamed)[0].text == "<p>gnew olnew</p>"
    packed = gzip.compress(body)
    fields = {"content-type": "text/html", "content-encoding": "gzip"}
    coded = lambda _: Response.stream(byte_by_byte(packed), headers=fields)  # noqa: E731
    response = ask(coded, headers={"accept-encoding": "gzip"})[0]
    assert (
        gzip.decompress(response.body) == b"<p>gnew olnew</p>"
        and response.headers["content-encoding"] == "gzip"
    )


def test_what_describes_the_old_body_is_gone() -> None:
    fields = {
        "etag": '"1"',
        "last_modified": "x",
        "accept_ranges": "bytes",
        "content_md5": "x",
        "repr_digest": "x",
    }
    response, received = ask(page("an old page", **fields), headers={"range": "bytes=0-1", "if-range": '"1"'})
    assert response.text == "an new page"
    gone = {"etag", "last-modified", "accept-ranges", "content-md5", "repr-digest"}
    assert not gone & set(response.headers)
    assert response.headers.get("content-length") in (None, "11") and not {"range", "if-range"} & set(
        received.headers
    )


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (page(kind="text/html; charset=UTF-8"), "new"),
        (page(kind="Text/HTML"), "new"),
        (page(status=500), "new"),
        (page(kind="text/plain"), "old"),
        (page(kind="text/htmlx"), "old"),
        (page(cache_control="public, No-Transform"), "old"),
        (page(status=206, content_range="bytes 0-2/9"), "old"),
        (page(kind="application/octet-stream"), "old"),
    ],
)
def test_only_whole_bodies_of_the_types_are_changed(server: Response, expected: str) -> None:
    assert ask(server)[0].text == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("text/html", "neü"), ('text/html; charset="utf-8"', "neü"), ("text/html; charset=latin1", "old")],
)
def test_texts_that_are_not_ascii_are_put_into_utf8_only(kind: str, expected: str) -> None:
    assert ask(page(kind=kind), replace=[{"find": "old", "by": "neü"}])[0].text == expected


def test_all_types_and_groups_of_them() -> None:
    assert [ask(page(kind="text/css"), types=[one])[0].text for one in ("*", "text/*", "image/*")] == [
        "new",
        "new",
        "old",
    ]


def test_once_ignoring_case_and_never_again_in_what_was_put_in() -> None:
    rules = [
        {"find": "</HEAD>", "by": "<x></head>", "once": True, "ignore_case": True},
        {"find": "a", "by": "aa"},
        {"find": ".*", "by": r"\1"},
    ]
    response, _ = ask(page("a</Head></head>.*b"), replace=rules)
    assert response.text == r"aa<x></head></heaad>\1b"


def test_the_head_alone_is_as_that_of_the_page() -> None:
    response, _ = ask(page("old", etag='"1"'), method="HEAD")
    assert response.status == 200 and "etag" not in response.headers and response.body == b""


def test_a_large_body_is_not_held() -> None:
    stream = Stream((Text(b"x" * 1024, b"y", False, False),))
    sent = [len(stream.replaced(b"x" * 1023 + b"z", last=False)) for _ in range(50)]
    assert sent == [1024] * 50
    held = sum(len(stream.replaced(b"x" * 1000, last=False)) for _ in range(1024))
    assert held == 1000 and len(stream._held) < 1024


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replace": []}, "replace"),
        ({"replace": [{"find": "", "by": "x"}]}, "find"),
        ({"replace": [{"find": "ü" * 513, "by": "x"}]}, "more than 1024 bytes"),
        ({"types": ["html"]}, "not a valid media type"),
        ({"replace": [{"find": "x", "by": "y"}] * 65}, "replace"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        SubFilter(**{"replace": [{"find": "x", "by": "y"}], **settings})
