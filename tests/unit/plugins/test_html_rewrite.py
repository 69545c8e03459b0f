"""html-rewrite: what becomes of elements, what stays byte for byte, and pages that are too much."""

import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Response
from headgate.plugins import HtmlRewrite
from headgate.testing import Received, TestGateway, TestResponse

SERVER = "server.test:80"


def ask(server: Any, *rules: Any, headers: Any = (), **config: Any) -> tuple[TestResponse, Received]:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(HtmlRewrite(rules=list(rules), **config))
    with TestGateway(gate, upstreams={SERVER: server}, raise_errors=False) as gateway:
        return gateway.get("/", headers), gateway.received[0]


def page(text: Any, kind: str = "text/html", **fields: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return Response(200, text, headers={"content-type": kind, **named})


RULES: list[tuple[dict[str, Any], str, str]] = [
    (
        {"select": "a", "set": {"rel": 'x"y&<'}},
        "<a href=1>l</a>",
        '<a href="1" rel="x&quot;y&amp;&lt;">l</a>',
    ),
    ({"select": "a", "remove_attributes": ["href", "none"]}, '<a href="1" id=2>l</a>', '<a id="2">l</a>'),
    (
        {
            "select": "img[src^='http://a/']",
            "replace": {"src": {"find": "http://a/", "by": "/a/"}, "alt": {"find": "x", "by": "y"}},
        },
        '<img src="http://a/1"><img src="http://b/1">',
        '<img src="/a/1"><img src="http://b/1">',
    ),
    ({"select": "p", "text": "<b>1 & 2"}, "<p>a<i>b</i></p>", "<p>&lt;b&gt;1 &amp; 2</p>"),
    ({"select": "p", "html": "<b>1</b>"}, "<p>a<i>b</i></p>", "<p><b>1</b></p>"),
    (
        {"select": "p", "prepend": "<i>1</i>2", "append": "3<i>4</i>"},
        "<p>a</p>",
        "<p><i>1</i>2a3<i>4</i></p>",
    ),
    ({"select": "p", "prepend": "<i>1</i>2"}, "<p></p>", "<p><i>1</i>2</p>"),
    ({"select": "p", "before": "<i>1</i>2", "after": "3<i>4</i>"}, "<p>a</p>", "<i>1</i>2<p>a</p>3<i>4</i>"),
    ({"select": "script", "remove": True}, "a<script>x</script>b", "ab"),
    ({"select": "div", "remove": True}, "<div>a<div>b<div>c</div></div></div>d", "d"),
    ({"select": "b", "unwrap": True}, "<p><b>a<i>b</i></b></p>", "<p>a<i>b</i></p>"),
    ({"select": "p", "once": True, "text": "x"}, "<p>a</p><p>b</p>", "<p>x</p><p>b</p>"),
    ({"select": "td", "text": "x"}, "<tr><td>a</td></tr>", "<tr><td>x</td></tr>"),
    (
        {"select": "ul > li:nth-child(2)", "text": "x"},
        "<ul><li>1</li><li>2</li></ul>",
        "<ul><li>1</li><li>x</li></ul>",
    ),
]


@pytest.mark.parametrize(("rule", "before", "after"), RULES)
def test_elements_are_changed(rule: dict[str, Any], before: str, after: str) -> None:
    assert ask(page(before), rule)[0].text == after


def test_rules_run_one_after_the_other_on_whole_pages() -> None:
    text = "<!DOCTYPE html><html><head><title>ü</title></head><body><p>1</p></body></html>"
    rules = ({"select": "head", "append": "<meta name=x>"}, {"select": "meta", "set": {"content": "1"}})
    expected = text.replace("</head>", '<meta name="x" content="1"></head>')
    assert ask(page(text, "text/html; charset=utf-8"), *rules)[0].text == expected


async def byte_by_byte(body: bytes) -> AsyncIterator[bytes]:
    for number in range(len(body)):
        yield body[number : number + 1]


def test_a_page_that_comes_byte_by_byte_or_coded_is_changed() -> None:
    text, rule = b"<p class=x>1</p>", {"select": "p.x", "text": "2"}
    streamed = lambda _: Response.stream(byte_by_byte(text), content_type="text/html")  # noqa: E731
    assert ask(streamed, rule)[0].text == '<p class="x">2</p>'
    response, received = ask(
        page(gzip.compress(text), content_encoding="gzip"), rule, headers={"range": "bytes=0-1"}
    )
    assert response.text == '<p class="x">2</p>' and "content-encoding" not in response.headers
    assert received.headers["accept-encoding"] == "identity" and "range" not in received.headers


def test_what_describes_the_old_page_is_gone() -> None:
    fields = {"etag": '"1"', "last_modified": "x", "accept_ranges": "bytes", "content_md5": "x"}
    response, _ = ask(page("<p>1", **fields), {"select": "p", "text": "22"})
    assert not {"etag", "last-modified", "accept-ranges", "content-md5"} & set(response.headers)
    assert response.headers.get("content-length") in (None, str(len("<p>22</p>")))


@pytest.mark.parametrize(
    "server",
    [
        page("<P CLASS=a>1<p>2 & 3"),
        page("<a>1", "text/plain"),
        page("<a>1", cache_control="no-transform"),
        Response(206, "<a>1", headers={"content-type": "text/html", "content-range": "bytes 0-3/9"}),
    ],
)
def test_other_pages_stay_byte_for_byte(server: Response) -> None:
    assert ask(server, {"select": "a", "remove": True})[0].body == server.body


TOO_MUCH = [
    page("<a>" + "x" * 2000),
    page("<div>" * 60_000 + "<a>1"),
    page(b"<a>\xff</a>"),
    page("<a>ä</a>".encode("cp1252"), "text/html; charset=windows-1252"),
]


@pytest.mark.parametrize("number", range(4))
def test_pages_that_are_too_much_are_refused_or_go_on(number: int) -> None:
    config = {"max_body_bytes": 1000 if number == 0 else 1_000_000, "timeout": 0.5}
    rule = {"select": "a", "remove": True}
    if number != 1:  # the other one comes in several pieces, and its head may have gone
        assert ask(TOO_MUCH[number], rule, **config)[0].status == 502
    response, _ = ask(TOO_MUCH[number], rule, otherwise="pass", **config)
    assert (response.status, response.body) == (200, TOO_MUCH[number].body)


@pytest.mark.parametrize(
    "rule",
    [
        {"select": "a["},
        {"select": "a[", "remove": True},
        {"select": "", "remove": True},
        {"select": "a::before", "remove": True},
        {"select": "a"},
        {"select": "a", "set": {"a b": "1"}},
        {"select": "a", "set": {"onclick=": "1"}},
        {"select": "a", "text": "1", "html": "2"},
        {"select": "a", "replace": {"href": {"find": "", "by": "x"}}},
        {"select": "a", "class": "x"},
    ],
)
def test_wrong_settings_are_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        HtmlRewrite(rules=[rule])
    with pytest.raises(ConfigError):
        HtmlRewrite(rules=[])
