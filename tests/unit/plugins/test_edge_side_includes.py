"""edge-side-includes: what pages become, what nobody can have included, and how much at most."""

import time
from contextlib import suppress
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Response
from headgate.plugins import EdgeSideIncludes, IpRestriction, KeyAuth
from headgate.plugins._esi import BadPage, Variables, parts
from headgate.testing import Received, TestGateway, TestResponse

SERVER, OTHER = "server.test:80", "other.test:80"
HTML = {"content-type": "text/html; charset=utf-8", "surrogate-control": 'content="ESI/1.0"'}


def page(text: str, **more: str) -> Response:
    return Response(
        200, text, headers={**HTML, **{name.replace("_", "-"): value for name, value in more.items()}}
    )


def ask(
    template: Any,
    fragments: dict[str, Any],
    target: str = "/page",
    headers: Any = (),
    others: Any = (),
    **config: Any,
) -> tuple[TestResponse, list[Received]]:
    def served(received: Received) -> Any:
        if received.path == "/page":
            return page(template) if isinstance(template, str) else template
        made = fragments.get(f"{received.headers['host']}{received.target}", fragments.get(received.target))
        return Response(404, "none") if made is None else made

    gate = Gateway()
    gate.upstream("app", SERVER)
    gate.upstream("other", OTHER)
    gate.route("/", to="app")
    gate.use(EdgeSideIncludes(**config))
    for plugin, on in others:
        gate.use(plugin, on=on)
    with TestGateway(gate, upstreams={SERVER: served, OTHER: served}) as gateway:
        return gateway.get(target, headers), gateway.received


def made(template: str, fragments: dict[str, Any] | None = None, **more: Any) -> str:
    response, _ = ask(template, fragments or {}, **more)
    assert response.status == 200, response.text
    return response.text


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('a<esi:include src="/f"/>b', "aFb"),
        ("a<esi:include src='/f' />b<esi:include src=\"/f\"></esi:include>", "aFbF"),
        ('<esi:include src="f"/>', "F"),
        ('<esi:include src="/none" alt="/f"/>', "F"),
        ('<esi:include src="/none" onerror="continue"/>.', "."),
        ("a<esi:remove>b<esi:include src='/none'/><i>c</i></esi:remove>d", "ad"),
        ('a<esi:comment text="b"/>c', "ac"),
        ("<!--esi <p>a</p><esi:include src='/f'/>-->b", " <p>a</p>Fb"),
        ("<!-- a --><!--esix-->", "<!-- a --><!--esix-->"),
        (
            "<esi:vars>$(HTTP_HOST) $(QUERY_STRING{q}) $(NONE|'x') $(HTTP_COOKIE{c}|y)</esi:vars>$(HTTP_HOST)",
            "gateway.test 1 x y$(HTTP_HOST)",
        ),
        ('<esi:include src="/f?x=$(QUERY_STRING{q})&amp;y=1"/>', "Q"),
        ("<esi:inline name='x'>a</esi:inline>", "<esi:inline name='x'>a</esi:inline>"),
        ("no markup, <esi: include>", "no markup, <esi: include>"),
    ],
)
def test_pages_are_put_together(template: str, expected: str) -> None:
    fragments = {"/f": Response(200, "F"), "/f?x=1&y=1": Response(200, "Q")}
    assert made(template, fragments, target="/page?q=1", headers={"host": "gateway.test"}) == expected


def test_values_of_clients_stay_text() -> None:
    text = made("<esi:vars>$(QUERY_STRING{q})</esi:vars>", target="/page?q=%3Cesi:include%20src=%22/f%22/%3E")
    assert text == "&lt;esi:include src=&quot;/f&quot;/&gt;"
    _, received = ask(
        '<esi:include src="/f?x=$(QUERY_STRING{q})" onerror="continue"/>', {}, "/page?q=a%20b%26y=1%23"
    )
    assert [one.target for one in received[1:]] == ["/f?x=a%20b%26y%3D1%23"]


def test_fragments_are_asked_for_as_the_same_client_by_routes_and_plugins() -> None:
    fragments = {"/secret": Response(200, "S"), "/f": Response(200, "F")}
    keys = [(KeyAuth(keys={"alice": "a"}), "/secret")]
    template = '<esi:include src="/secret" onerror="continue"/><esi:include src="/f"/>'
    assert made(template, fragments, others=keys) == "F"
    keys = [(KeyAuth(keys={"alice": "a"}, header="authorization", scheme="Bearer"), "/secret")]
    assert made(template, fragments, others=keys, headers={"authorization": "Bearer a"}) == "SF"
    denied = [(IpRestriction(deny=["127.0.0.0/8", "192.0.2.0/24", "::/0", "0.0.0.0/0"]), "/secret")]
    assert made(template, fragments, others=denied) == "F"


def test_fields_of_the_client_go_to_own_fragments_only() -> None:
    headers = {
        "cookie": "a=1",
        "authorization": "t",
        "x-other": "1",
        "accept-language": "de",
        "host": "gateway.test",
    }
    config = {"hosts": {"cms.example:8080": "other"}}
    template = '<esi:include src="/f"/><esi:include src="http://cms.example:8080/g?x"/>'
    fragments = {"/f": Response(200, "F"), "cms.example:8080/g?x": Response(200, "G")}
    response, received = ask(template, fragments, headers=headers, **config)
    assert response.text == "FG"
    own, other = (next(one for one in received if one.path == path) for path in ("/f", "/g"))
    assert (own.headers["cookie"], own.headers["authorization"], own.headers["host"]) == (
        "a=1",
        "t",
        "gateway.test",
    )
    assert not {"cookie", "authorization", "x-other", "x-esi-fragment"} & set(other.headers)
    assert "x-other" not in own.headers and other.upstream == "other"


@pytest.mark.parametrize(
    "src",
    [
        "http://169.254.169.254/latest",
        "//evil.example/x",
        "http://other.test/x",
        "http://gateway.test@evil.example/",
        "http://gateway.test\\\\@evil.example/",
        "file:///etc/passwd",
        "gopher://x",
        "http://[::1/",
        "",
    ],
)
def test_nothing_else_is_asked(src: str) -> None:
    response, received = ask(f'<esi:include src="{src}"/>', {}, headers={"host": "gateway.test"})
    assert response.status == 502 and all(one.path in ("/page", "/x", "/") for one in received)
    assert all(one.headers["host"] == "gateway.test" for one in received)


def test_fragments_include_others_as_deep_as_is_allowed() -> None:
    fragments = {f"/{n}": page(f'{n}<esi:include src="/{n + 1}"/>') for n in range(1, 9)}
    fragments["/3"] = page("3")
    assert made('<esi:include src="/1"/>', fragments) == "123"
    response, received = ask('<esi:include src="/page"/>', {}, max_depth=4)
    assert response.status == 502 and len(received) == 5


@pytest.mark.parametrize(
    ("template", "fragments", "config"),
    [
        ('<esi:include src="/none"/>', {}, {}),
        ('<esi:include src="/f"/>' * 11, {"/f": "F"}, {"max_includes": 10}),
        (
            '<esi:include src="/a"/><esi:include src="/a"/>',
            {"/a": page('<esi:include src="/f"/>' * 5), "/f": "F"},
            {"max_includes": 11},
        ),
        ("x" * 1001, {}, {"max_body_bytes": 1000}),
        ('<esi:include src="/f"/>', {"/f": "x" * 1001}, {"max_body_bytes": 1000}),
        ('<esi:include src="/f"/>' * 3, {"/f": page("x" * 400)}, {"max_body_bytes": 1000}),
        ('<esi:include src="/f"/>' * 3, {"/f": "x" * 400}, {"max_body_bytes": 1000}),
        ("<esi:remove>a", {}, {}),
        ("a</esi:remove>", {}, {}),
        ("<!--esi a", {}, {}),
        ("<esi:include/>", {}, {}),
        ("<esi:vars><esi:remove></esi:vars></esi:remove>", {}, {}),
    ],
)
def test_a_page_that_cannot_be_put_together_is_a_502(template: str, fragments: Any, config: Any) -> None:
    response, _ = ask(template, fragments, **config)
    assert (response.status, response.text) == (502, "the page cannot be put together\n")


def test_only_pages_that_ask_for_it_are_read() -> None:
    text = '<esi:include src="/f"/>'
    plain = Response(200, text, headers={"content-type": "text/html", "etag": '"1"'})
    response, received = ask(plain, {"/f": "F"})
    assert response.text == text and response.headers["etag"].endswith('"1"')
    assert received[0].headers["surrogate-capability"] == 'headgate="ESI/1.0"'
    assert ask(plain, {"/f": "F"}, always=True)[0].text == "F"
    other = Response(200, text, headers={**HTML, "content-type": "text/plain"})
    assert ask(other, {"/f": "F"})[0].text == text


def test_heads_say_nothing_of_the_template() -> None:
    template = page("x", etag='"1"', last_modified="x", cache_control="public, max-age=9", expires="x")
    response, _ = ask(template, {})
    assert response.headers["cache-control"] == "private, no-cache"
    assert not {"etag", "last-modified", "expires", "surrogate-control"} & set(response.headers)
    assert ask(template, {}, cache_control=None)[0].headers["cache-control"] == "public, max-age=9"


def test_a_client_cannot_say_that_it_asks_for_a_fragment() -> None:
    assert made('<esi:include src="/f"/>', {"/f": "F"}, headers={"x-esi-fragment": "1"}) == "F"


@pytest.mark.parametrize(
    "text",
    [
        "<esi:include src=",
        '<esi:x a="',
        "<!--esi",
        "$(",
        "<esi:include a='b' ",
        "$(A{",
        "</esi:x   ",
        "<esi:vars/>",
    ],
)
def test_hostile_markup_takes_linear_time(text: str) -> None:
    values = Variables({}, {})
    began = time.process_time()
    with suppress(BadPage):
        parts(text.encode() * 50_000, values)
    values.in_text(text * 50_000)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "settings",
    [
        {"types": ["html"]},
        {"inherit": ["host"]},
        {"inherit": ["x-forwarded-for"]},
        {"inherit": ["a b"]},
        {"max_depth": 9},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        EdgeSideIncludes(**settings)
