"""html-rewrite: what becomes of elements while a page streams, what stays byte for byte, pages that are too much."""

import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headgate import ConfigError, Gateway, HtmlRules, Response
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
    ({"select": "a", "set": {"rel": 'x"y&<'}}, "<a href=1>l</a>", '<a href=1 rel="x&quot;y&amp;<">l</a>'),
    ({"select": "a", "remove_attributes": ["href", "none"]}, '<a href="1" id=2>l</a>', "<a id=2>l</a>"),
    (
        {
            "select": "img[src^='http://a/']",
            "replace": {"src": {"find": "http://a/", "by": "/a/"}, "alt": {"find": "x&y", "by": "y"}},
        },
        '<img src="http://a/1" alt=x&amp;y><img src="http://b/1">',
        '<img src="/a/1" alt="y"><img src="http://b/1">',
    ),
    (
        {"select": "p", "add_classes": ["a", "b"], "remove_classes": ["c"]},
        '<p class="a c">1</p><p>2</p>',
        '<p class="a b">1</p><p class="a b">2</p>',
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
    ({"select": "p", "before": "<i>1</i>", "remove": True}, "<p>a</p>b", "<i>1</i>b"),
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
    ({"select": "i:not(.a), b", "unwrap": True}, "<i>1</i><i class=a>2</i><b>3</b>", "1<i class=a>2</i>3"),
]


@pytest.mark.parametrize(("rule", "before", "after"), RULES)
def test_elements_are_changed(rule: dict[str, Any], before: str, after: str) -> None:
    assert ask(page(before), rule)[0].text == after


def test_rules_see_the_page_as_the_server_sent_it() -> None:
    text = "<!DOCTYPE html><html><head><title>ü</title></head><body><p>1</p></body></html>"
    rules = ({"select": "head", "append": "<meta>"}, {"select": "meta", "remove": True})
    expected = text.replace("</head>", "<meta></head>")
    assert ask(page(text, "text/html; charset=utf-8"), *rules)[0].text == expected


def test_what_is_put_in_has_the_encoding_of_the_page() -> None:
    rule = {"select": "p", "text": "é"}
    assert ask(page(b"<p>x</p>\xe8", 'text/html; charset="ISO-8859-1"'), rule)[0].body == b"<p>\xe9</p>\xe8"
    assert ask(page(b"<p>x</p>\xe8", "text/html"), rule)[0].body == "<p>é</p>".encode() + b"\xe8"
    meta = b"<meta charset=windows-1251><p>x</p>"
    russian = {"select": "p", "text": "д"}
    assert ask(page(meta), russian)[0].body == meta.replace(b"x", b"\xe4")


async def byte_by_byte(body: bytes) -> AsyncIterator[bytes]:
    for number in range(len(body)):
        yield body[number : number + 1]


def test_a_page_that_comes_byte_by_byte_or_coded_is_changed() -> None:
    text, rule = b"<p class=x>1</p>", {"select": "p.x", "text": "2"}
    streamed = lambda _: Response.stream(byte_by_byte(text), content_type="text/html")  # noqa: E731
    assert ask(streamed, rule)[0].text == "<p class=x>2</p>"
    response, received = ask(
        page(gzip.compress(text), content_encoding="gzip"),
        rule,
        headers={"range": "bytes=0-1", "accept-encoding": "gzip"},
    )
    assert response.headers["content-encoding"] == "gzip" and "range" not in received.headers
    assert gzip.decompress(response.body) == b"<p class=x>2</p>"


def test_what_describes_the_old_page_is_gone() -> None:
    fields = {"etag": '"1"', "last_modified": "x", "accept_ranges": "bytes", "content_md5": "x"}
    response, _ = ask(page("<p>1</p>", **fields), {"select": "p", "text": "22"})
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


TOO_MUCH = {
    "a tag without end": page("<a " + "x" * 300_000),
    "depth": page("<b>" * 60_000),
    "utf-16 by its mark": page("<a>".encode("utf-16")),
    "utf-16 by its charset": page("<a>".encode("utf-16-le"), "text/html; charset=utf-16le"),
    "an unknown charset": page("<a>", "text/html; charset=none"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_pages_that_are_too_much_go_on_as_they_are_or_are_refused(name: str) -> None:
    rules = ({"select": "a[href], b", "append": "1"},)
    config = {"max_memory_bytes": 65536}
    response, _ = ask(TOO_MUCH[name], *rules, **config)
    assert (response.status, response.body) == (200, TOO_MUCH[name].body)
    assert ask(TOO_MUCH[name], *rules, otherwise="refuse", **config)[0].status == 502


def test_markup_of_two_meanings_is_refused_only_if_asked() -> None:
    text = "<select><xmp><script>1</script></select><p>1</p>"
    rule = {"select": "p", "text": "2"}
    assert ask(page(text), rule)[0].status == 200
    assert ask(page(text), rule, otherwise="refuse")[0].status == 502


def test_a_charset_that_cannot_be_changed_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gateway()
    gate.route("/", to=SERVER)
    plugin = HtmlRewrite(rules=[{"select": "a", "remove": True}])
    gate.use(plugin)
    server = page("<a>", "text/html; charset=iso-2022-jp")
    with TestGateway(gate, upstreams={SERVER: server}) as gateway:
        for _ in range(3):
            assert gateway.get("/").body == b"<a>"
    assert caplog.text.count("pages of this charset are not changed") == 1
    assert plugin._failed.value == 3


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
        {"select": "a + b", "remove": True},
        {"select": "li:last-child", "remove": True},
        {"select": "a:has(b)", "remove": True},
        {"select": "a", "add_classes": ["a b"]},
        {"select": "a", "remove_classes": [""]},
    ],
)
def test_wrong_settings_are_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        HtmlRewrite(rules=[rule])
    with pytest.raises(ConfigError):
        HtmlRewrite(rules=[])


def test_a_selector_that_streams_cannot_know_says_what_can_be_used() -> None:
    with pytest.raises(ConfigError, match="`a ~ b` has a combinator") as raised:
        HtmlRewrite(rules=[{"select": "a ~ b", "remove": True}])
    assert "`:nth-child()`" in str(raised.value)


def test_hooks_have_the_same_rewriter() -> None:
    rules = HtmlRules([{"select": "p", "text": "2"}])
    rewriter = rules.rewriter()
    assert rewriter is not None
    chunk = b"<i>same object</i>"
    assert rewriter.write(chunk) is chunk
    assert rewriter.write(b"<p>1") + rewriter.write(b"</p><") + rewriter.end() == b"<p>2</p><"
    assert rewriter.failure is None
    assert rules.rewriter(charset="utf-16") is None
    refusing = rules.rewriter(max_memory_bytes=100)
    assert refusing is not None
    with pytest.raises(ValueError, match="; hint: "):
        refusing.write(b"<p " + b"x" * 1000)
    with pytest.raises(ValueError):
        refusing.write(b"<p>")


@pytest.mark.parametrize("rules", [[{"select": "a", "gone": 1}], ["a"], [{"select": 1}], 1])
def test_wrong_rules_of_hooks_are_refused(rules: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        HtmlRules(rules)
