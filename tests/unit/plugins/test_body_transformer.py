"""body-transformer: what becomes of bodies, what stays as it was written, and what no value can do."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Response
from headgate.plugins import BodyTransformer
from headgate.testing import HookRaised, Received, TestGateway, TestResponse

SERVER = "server.test:80"
JSON = {"content-type": "application/json"}
XML = {"content-type": "text/xml"}


def ask(
    body: bytes | str | None = None, headers: Any = JSON, server: Any = "ok", **config: Any
) -> tuple[TestResponse, Received | None]:
    gate = Gateway()
    gate.route("/orders/{id}", to=SERVER)
    gate.use(BodyTransformer(**config))
    with TestGateway(gate, upstreams={SERVER: server}) as gateway:
        response = gateway.request("POST" if body else "GET", "/orders/7?q=1", headers, body=body)
        return response, gateway.received[0] if gateway.received else None


def sent(template: str, body: bytes | str, headers: Any = JSON, **more: Any) -> str:
    response, received = ask(body, headers, request={"template": template, **more})
    assert response.status == 200 and received, response.text
    assert received.headers["content-length"] == str(len(received.body))
    return received.body.decode()


NUMBERS = '{"a":9007199254740993,"b":1.10,"c":1e400,"d":-0,"e":0.1e-7,"f":123456789012345678901234567890}'


def test_numbers_stay_as_they_were_written_unless_a_template_computes() -> None:
    assert sent("{{ body | tojson }}", NUMBERS) == NUMBERS
    assert sent('{"x": {{ body.b }}, "y": {{ body.a + 1 }}}', NUMBERS) == '{"x": 1.10, "y": 9007199254740994}'


HOSTILE = [
    '","admin":true,"x":"',
    "</a><role>admin</role>",
    "\n\r\x00",
    "\\",
    "\u2028 \U0001f600",
    "{{ 7 * 7 }}",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_stays_a_text_in_json(value: str) -> None:
    import json

    made = json.loads(sent('{"name": "{{ body.name }}"}', json.dumps({"name": value})))
    assert made == {"name": value}


@pytest.mark.parametrize("value", ["</a><role>admin</role>", '" onload="x', "&amp;", "'", "{{ 7 * 7 }}"])
def test_a_value_stays_a_text_in_xml(value: str) -> None:
    import json
    from xml.etree import ElementTree

    made = ElementTree.fromstring(
        sent('<a b="{{ body.n }}">{{ body.n }}</a>', json.dumps({"n": value}), output="xml")
    )
    assert (made.text, made.attrib, list(made)) == (value, {"b": value}, [])


@pytest.mark.parametrize(
    ("items", "expected"),
    [("", "[]"), ("<item>1</item>", '["1"]'), ("<item>1</item><item>2</item>", '["1","2"]')],
)
def test_the_shape_of_xml_does_not_depend_on_how_many_there_are(items: str, expected: str) -> None:
    template = '[{% for one in body.order.item %}"{{ one }}"{{ "," if not loop.last }}{% endfor %}]'
    assert sent(template, f"<order>{items}</order>", XML, lists=["order/item"]) == expected


def test_attributes_texts_and_children_do_not_collide() -> None:
    body = '<a id="1"> text <b id="2">inner</b></a>'
    template = '["{{ body.a["@id"] }}", "{{ body.a }}", "{{ body.a.b }}", "{{ body.a.b["@id"] }}"]'
    assert sent(template, body, XML) == '["1", "text", "inner", "2"]'


def test_forms_and_texts_and_what_is_known_of_the_request() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert (
        sent('{"a": "{{ body.a }}", "n": {{ body.n | length }}}', "a=1+2&n=1&n=2", form, lists=["n"])
        == '{"a": "1 2", "n": 2}'
    )
    template = "{{ body }} {{ request.method }} {{ request.params.id }} {{ request.query.q }}"
    assert sent(template, "hello", {"content-type": "text/plain"}, output="text") == "hello POST 7 1"


@pytest.mark.parametrize(
    ("body", "headers", "error"),
    [
        ('{"b": 1}', JSON, "is not what the template wants"),
        ("{", JSON, "is not valid JSON"),
        ("[" * 10_000, JSON, "nested too deep"),
        ("<a><b/><b/></a>", XML, "more than one `b`"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', XML, "has a document type"),
        ("<a>" * 100, XML, "nested too deep"),
        ("a=1&a=2", {"content-type": "application/x-www-form-urlencoded"}, "has `a` twice"),
        (b"\xff", {"content-type": "text/plain"}, "not what its type says"),
        ('{"a": 1}', {"content-type": "application/json; charset=utf-7"}, "not UTF-8"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_and_goes_nowhere(body: Any, headers: Any, error: str) -> None:
    response, received = ask(body, headers, request={"template": '"{{ body.a }}"'})
    assert response.status in (400, 415) and error in response.json()["error"] and received is None


def test_a_coded_body_is_read_and_a_large_one_refused() -> None:
    coded = {**JSON, "content-encoding": "gzip"}
    assert sent('"{{ body.a }}"', gzip.compress(b'{"a": "x"}'), coded) == '"x"'
    bomb = gzip.compress(b'"' + b"x" * 5_000_000 + b'"')
    assert ask(bomb, coded, request={"template": "{{ body }}"})[0].status == 413


def test_a_template_reaches_nothing_but_values() -> None:
    for template in ("{{ body.__class__ }}", "{{ ''.__class__.__mro__ }}"):
        with pytest.raises(HookRaised, match="unsafe"):
            ask('{"a": 1}', request={"template": template, "output": "text"})
    response, received = ask('{"a": 1}', request={"template": "{{ request.fetch('/') }}", "output": "text"})
    assert response.status == 400 and received is None


# ---- responses


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 7):
        yield body[start : start + 7]


def test_a_response_is_transformed_whole_and_keeps_nothing_of_the_old_body() -> None:
    def server(received: Received) -> Response:
        assert received.headers["accept-encoding"] == "identity"
        fields = {"etag": '"x"', "content-type": "application/xml", "last-modified": "y"}
        return Response.stream(
            pieces(b"<orders><order><id>1</id></order><order><id>2</id></order></orders>"), headers=fields
        )

    listed = '{% for one in body.orders.order %}{{ one.id }}{{ "," if not loop.last }}{% endfor %}'
    template = f'{{"status": {{{{ status }}}}, "ids": [{listed}]}}'
    response, _ = ask(
        headers={"accept-encoding": "gzip"},
        server=server,
        response={"template": template, "lists": ["orders/order"]},
    )
    assert (response.status, response.json()) == (200, {"status": 200, "ids": [1, 2]})
    assert response.headers["content-type"] == "application/json"
    assert {"etag", "last-modified", "content-encoding"} & set(response.headers) == set()


@pytest.mark.parametrize(
    ("server", "config"),
    [
        (Response(200, b"{", headers=JSON), {}),
        (Response(200, b'{"b": 1}', headers=JSON), {}),
        (Response(200, b'{"a": "' + b"x" * 3000 + b'"}', headers=JSON), {"max_body_bytes": 2000}),
        (Response(200, gzip.compress(b'{"a": 1}'), headers={**JSON, "content-encoding": "gzip"}), {}),
    ],
)
def test_a_response_that_does_not_fit_is_a_502_that_tells_nothing(
    server: Response, config: dict[str, Any]
) -> None:
    response, _ = ask(server=server, response={"template": '"{{ body.a }}"'}, **config)
    assert response.status == 502 and response.json() == {
        "error": "the response of the server is not what was expected"
    }


def test_statuses_without_a_body_stay() -> None:
    for status in (204, 304):
        response, _ = ask(server=Response(status), response={"template": '"{{ body.a }}"'})
        assert (response.status, response.body) == (status, b"")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "no body is transformed"),
        ({"request": {"template": "{% if %}"}}, "line 1 of the template is not valid"),
        ({"request": {"template": "file:/nowhere"}}, "cannot be read"),
        ({"request": {"template": "x", "output": "yaml"}}, "cannot be `yaml`"),
        ({"request": {"tempalte": "x"}}, "did you mean `template`"),
    ],
)
def test_wrong_settings_are_refused_with_a_hint(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Gateway().use(BodyTransformer(**config))


def test_a_template_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "template").write_text('["{{ body.a }}"]')
    assert sent(f"file:{tmp_path}/template", '{"a": "x"}') == '["x"]'
