"""Plugins that change messages: what the server gets, what the client gets, and that nothing else changes."""

import time
import uuid
from pathlib import Path
from typing import Any

import pytest

import headgate.plugins as built_in
from headgate import ConfigError, Gateway, Plugin, Response
from headgate.config import field_names
from headgate.plugins import (
    ErrorPages,
    Headers,
    KeyAuth,
    ProxyRewrite,
    Redirect,
    RequestId,
    RequestSize,
    ResponseRewrite,
    SecurityHeaders,
    _fields,
)
from headgate.testing import Fault, Received, TestGateway, TestResponse

SERVER = "server.test:80"


def ask(
    plugin: Plugin, target: str = "/", headers: Any = (), **more: Any
) -> tuple[TestResponse, Received | None]:
    gate = Gateway()
    gate.route("/", to=SERVER)
    for other in more.pop("others", ()):
        gate.use(other)
    gate.use(plugin, when=more.pop("when", None))
    with TestGateway(gate, upstreams={SERVER: more.pop("server", "from the server")}) as gateway:
        response = gateway.request(more.pop("method", "GET"), target, headers, **more)
        return response, gateway.received[0] if gateway.received else None


# ---- ids


def test_ids_sort_by_time_and_are_told_to_both() -> None:
    before = time.time_ns() // 1_000_000
    plugin = RequestId()
    response, received = ask(plugin, headers={"x-correlation-id": "chosen-by-the-client"})
    assert received
    id = uuid.UUID(received.headers["x-correlation-id"])
    assert (id.version, id.variant) == (7, uuid.RFC_4122)
    assert before <= id.int >> 80 <= time.time_ns() // 1_000_000
    assert response.headers.get_all("x-correlation-id") == [str(id)]
    assert len({plugin._made() for _ in range(2000)}) == 2000


@pytest.mark.parametrize(
    ("given", "is_kept"), [("abc-12345", True), ("short", False), ("x" * 129, False), ("a b c d e f", False)]
)
def test_an_id_that_came_along_is_kept_only_if_it_is_plain(given: str, is_kept: bool) -> None:
    _, received = ask(RequestId(accept=True), headers={"x-correlation-id": given})
    assert received and (received.headers["x-correlation-id"] == given) == is_kept


# ---- fields


def test_fields_that_no_plugin_writes_are_those_that_no_setting_writes() -> None:
    # plugins see what users see, so the set stands in both
    assert _fields.FRAMING == field_names.FRAMING
    assert _fields.NAME.pattern == field_names.TOKEN.pattern


def test_fields_of_requests_are_edited_in_order() -> None:
    plugin = Headers(
        request={
            "remove": ["x-gone", "x-debug-*"],
            "rename": {"x-old": "x-new"},
            "map": [
                {"header": "x-version", "pattern": "^v?([0-9]+).*", "by": r"\1"},
                {"header": "authorization", "pattern": "^Bearer .*$", "by": "bearer", "to": "x-scheme"},
            ],
            "set": {"x-who": "=request.client.address", "x-set": "here"},
            "add": {"x-many": "2"},
            "default": {"x-default": "d", "x-given": "d"},
        }
    )
    given = [
        ("x-gone", "1"),
        ("X-Debug-A", "1"),
        ("x-old", "a"),
        ("x-old", "b"),
        ("x-version", "v12.3"),
        ("authorization", "Bearer secret"),
        ("x-set", "there"),
        ("x-many", "1"),
        ("x-given", "g"),
    ]
    _, received = ask(plugin, headers=given, address="192.0.2.1")
    assert received
    fields = {name: received.headers.get_all(name) for name in received.headers if name.startswith("x-")}
    fields.pop("x-request-id", None)
    for name in [one for one in fields if one.startswith("x-forwarded") or one == "x-real-ip"]:
        del fields[name]
    assert fields == {
        "x-new": ["a", "b"],
        "x-version": ["12"],
        "x-scheme": ["bearer"],
        "x-who": ["192.0.2.1"],
        "x-set": ["here"],
        "x-many": ["1", "2"],
        "x-given": ["g"],
        "x-default": ["d"],
    }


def test_fields_of_responses_may_tell_of_both_messages() -> None:
    edits = {"remove": ["x-s"], "set": {"x-told": '=request.method + " " + string(response.status)'}}
    response, _ = ask(Headers(response=edits), server=Response(404, headers={"x-s": "1"}))
    assert response.headers["x-told"] == "GET 404" and "x-s" not in response.headers


def test_a_clients_text_in_a_field_makes_no_other_field() -> None:
    edits = {"set": {"x-path": "=request.path", "x-agent": '=request.headers["user-agent"]'}}
    response, _ = ask(Headers(response=edits), "/%0d%0aset-cookie:%20a=b", {"user-agent": "a\tb"})
    assert response.headers["x-path"] == "/%0D%0Aset-cookie:%20a=b" and "set-cookie" not in response.headers


def test_control_characters_of_a_decoded_text_are_encoded_in_a_field() -> None:
    edits = {"set": {"x-told": '=request.query_params["a"]'}}
    for plugin in (Headers(request=edits), Headers(response=edits)):
        response, received = ask(plugin, "/?a=b%0d%0ac:%20d%00%01%7f%09%C3%A9")
        fields = received.headers if plugin.config.request and received else response.headers
        assert response.status == 200
        assert fields["x-told"] == "b%0D%0Ac: d%00%01%7F\té" and "c" not in fields


# ---- targets


@pytest.mark.parametrize(
    ("settings", "target", "expected"),
    [
        ({"path": [{"match": "/api/(.*)", "to": r"/\1"}]}, "/api/x%2Fy?q=1", "/x%2Fy?q=1"),
        ({"path": [{"match": "/api/(.*)", "to": r"/\1"}]}, "/other", "/other"),
        ({"path": [{"match": "/api(.*)", "to": r"\1"}]}, "/api//evil.example/", "/evil.example/"),
        ({"path": [{"match": "/a", "to": "/b"}, {"match": "/a.*", "to": "/c"}]}, "/ab", "/c"),
        ({"path": [{"match": "/a", "to": "/ü?x#y"}]}, "/a?z", "/%C3%BC%3Fx%23y?z"),
        (
            {"query_set": {"a": "1 &"}, "query_remove": ["b"]},
            "/?b=2&c=%2F&%62=3&a=9&d",
            "/?c=%2F&d&a=1%20%26",
        ),
        ({"query_remove": ["a"]}, "/?a", "/"),
        ({"query_set": {"m": "=request.method"}}, "/", "/?m=GET"),
    ],
)
def test_targets_are_rewritten(settings: dict[str, Any], target: str, expected: str) -> None:
    response, received = ask(ProxyRewrite(**settings), target)
    assert response.status == 200 and received and received.target == expected


def test_method_and_host_are_rewritten() -> None:
    _, received = ask(ProxyRewrite(method="PUT", host="app.internal"), method="POST", body="x")
    assert received and (received.method, received.headers["host"], received.body) == (
        "PUT",
        "app.internal",
        b"x",
    )


# ---- redirects


@pytest.mark.parametrize(
    ("settings", "target", "more", "location"),
    [
        ({"https": True}, "/a?b=1", {}, "https://site.example/a?b=1"),
        (
            {"https": True, "https_port": 8443},
            "/",
            {"headers": {"host": "site.example:80"}},
            "https://site.example:8443/",
        ),
        ({"https": True}, "/", {"scheme": "https"}, None),
        ({"host": "www.example"}, "/x", {}, "http://www.example/x"),
        ({"host": "site.example"}, "/x", {}, None),
        ({"trailing_slash": "add"}, "/a?b", {}, "/a/?b"),
        ({"trailing_slash": "add"}, "/a.txt", {}, None),
        ({"trailing_slash": "remove"}, "/a/", {}, "/a"),
        ({"trailing_slash": "remove"}, "/", {}, None),
        ({"trailing_slash": "remove"}, "//evil.example/", {}, "/evil.example"),
        ({"trailing_slash": "add"}, "//evil", {}, "/evil/"),
        ({"rules": [{"match": "/old/(.*)", "to": r"/\1"}]}, "/old//evil.example", {}, "/evil.example"),
        ({"rules": [{"match": "/old/(.*)", "to": r"/\1"}]}, "/old/%5Cevil", {}, "/%5Cevil"),
        (
            {"rules": [{"match": "/b/(.*)", "to": r"https://b.example/\1"}]},
            "/b/@evil?x",
            {},
            "https://b.example/@evil?x",
        ),
        ({"https": True, "rules": [{"match": "/old", "to": "/new"}]}, "/old", {}, "https://site.example/new"),
        ({"rules": [{"match": "/same", "to": "/same"}]}, "/same", {}, None),
    ],
)
def test_redirects_lead_where_they_are_to_lead(
    settings: dict[str, Any], target: str, more: dict[str, Any], location: str | None
) -> None:
    response, _ = ask(Redirect(**settings), target, more.pop("headers", {"host": "site.example"}), **more)
    assert response.headers.get("location") == location
    assert response.status == (200 if location is None else 308)


# ---- responses


def test_a_response_is_rewritten_and_nothing_tells_of_the_old_body() -> None:
    server = Response(
        500,
        "a long body" * 1000,
        headers={
            "etag": '"a"',
            "content-language": "de",
            "last-modified": "x",
            "digest": "y",
            "content-digest": "z",
        },
    )
    settings: dict[str, Any] = {
        "status": 503,
        "body": '{"sorry": 1}',
        "content_type": "application/json",
        "headers": {"set": {"x-a": "b"}},
    }
    when = "response.status >= 500"
    response, _ = ask(ResponseRewrite(**settings), when=when, server=server, others=[SecurityHeaders()])
    assert (response.status, response.text, response.headers["content-type"]) == (
        503,
        '{"sorry": 1}',
        "application/json",
    )
    assert response.headers["x-content-type-options"] == "nosniff" and response.headers["x-a"] == "b"
    told = {"etag", "content-language", "last-modified", "content-digest", "accept-ranges"} & set(
        response.headers
    )
    assert told == set()
    assert ask(ResponseRewrite(**settings), when=when)[0].text == "from the server"


@pytest.mark.parametrize(
    ("method", "server", "body"),
    [("HEAD", Response(500, "x"), b""), ("GET", Response(204), b""), ("GET", Response(500), b"new")],
)
def test_a_body_is_replaced_only_where_there_is_one(method: str, server: Response, body: bytes) -> None:
    response, _ = ask(ResponseRewrite(body="new"), method=method, server=server)
    assert (response.status, response.body) == (server.status, body)


def test_a_reply_of_the_gateway_is_rewritten_too() -> None:
    plugin = ResponseRewrite(body="who are you?")
    response, _ = ask(plugin, when="response.status == 401", others=[KeyAuth(keys={"a": "k"})])
    assert (response.status, response.text) == (401, "who are you?")


PAGES = {
    "404": {"html": "<p>not here", "json": '{"e": {status}}'},
    "5xx": {"html": "<p>{message} {id}", "text": "sorry {status}\n"},
}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "text/html"),
        ("*/*", "text/html"),
        ("application/json", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("text/*, application/json;q=0.9", "text/html"),
        ("image/png", "text/html"),
        ("text/html;q=x, application/json;q=0.1", "application/json"),
        ("," * 5000, "text/html"),
    ],
)
def test_the_page_is_the_one_that_the_client_would_rather_read(accept: str | None, kind: str) -> None:
    gate = Gateway()
    gate.route("=/only", respond="in")
    gate.use(ErrorPages(pages=PAGES))
    with TestGateway(gate) as gateway:
        response = gateway.get("/nowhere", {} if accept is None else {"accept": accept})
    assert (response.status, response.headers["content-type"]) == (404, f"{kind}; charset=utf-8")
    assert response.headers["vary"] == "Accept" and response.headers["cache-control"] == "no-store"
    assert response.text == ("<p>not here" if kind == "text/html" else '{"e": 404}')


def test_a_class_of_errors_has_a_page_and_servers_pages_stay() -> None:
    response, _ = ask(ErrorPages(pages=PAGES), headers={"accept": "text/plain"}, server=Fault.REFUSE)
    assert (response.status, response.text) == (502, "sorry 502\n")
    assert ask(ErrorPages(pages=PAGES), server=Response(500, "its own"))[0].text == "its own"
    without = ask(ErrorPages(pages={"404": {"text": "x"}}), server=Fault.REFUSE)[0]
    assert without.status == 502 and without.text != "x"


def test_pages_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>of a file")
    response, _ = ask(ErrorPages(pages={"502": {"html": f"file:{tmp_path}/page.html"}}), server=Fault.REFUSE)
    assert response.text == "<p>of a file"
    with pytest.raises(ConfigError, match="cannot be read"):
        Gateway().use(ErrorPages(pages={"502": {"html": "file:/nowhere"}}))


def test_plugins_that_refuse_come_before_those_that_rewrite() -> None:
    response, received = ask(
        ProxyRewrite(path=[{"match": ".*", "to": "/x"}]), "/" + "y" * 50, others=[RequestSize(target=20)]
    )
    assert response.status == 414 and received is None


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Headers", {}, "no edit is asked for"),
        ("Headers", {"request": {"set": {"a b": "c"}}}, "is not a valid header field name"),
        ("Headers", {"request": {"set": {"transfer-encoding": "chunked"}}}, "frames the message"),
        ("Headers", {"request": {"set": {"x": "a\r\nb: c"}}}, "has a control character"),
        ("Headers", {"response": {"add": {"x": "a\x01b"}}}, "has a control character"),
        ("Headers", {"request": {"set": {"x": "=request.pth"}}}, "did you mean `path`"),
        ("Headers", {"request": {"set": {"x": "=string(response.status)"}}}, "reads the response"),
        (
            "Headers",
            {"request": {"map": [{"header": "a", "pattern": "(", "by": ""}]}},
            "is not a valid pattern",
        ),
        ("ProxyRewrite", {"path": [{"match": "(?=a)", "to": "/"}]}, "is not a valid pattern"),
        ("ProxyRewrite", {"method": "GET X"}, "is not a valid method"),
        ("ProxyRewrite", {"host": "a/b"}, "is not a valid host"),
        ("Redirect", {}, "nobody is redirected"),
        ("Redirect", {"rules": [{"match": "/(.*)", "to": r"https://\1/"}]}, "lets a client choose the host"),
        (
            "Redirect",
            {"rules": [{"match": "/(.*)", "to": r"https://a.example\1"}]},
            "lets a client choose the host",
        ),
        ("Redirect", {"rules": [{"match": "/a", "to": "b"}]}, "is not a path"),
        ("ResponseRewrite", {}, "nothing is rewritten"),
        ("ErrorPages", {"pages": {"200": {"text": "x"}}}, "is not a status of errors"),
        ("ErrorPages", {"pages": {"404": {}}}, "has no text"),
    ],
)
def test_wrong_settings_are_refused_with_a_hint(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        getattr(built_in, name)(**settings)
