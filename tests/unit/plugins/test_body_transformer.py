"""body-transformer: what becomes of bodies, what stays as it was written, and what no value can do."""

import csv
import gzip
import importlib
import importlib.util
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import pytest
import yaml

from headgate import ConfigError, Gateway, Response
from headgate.plugins import BodyTransformer, KeyAuth
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


def test_errors_that_a_template_does_not_fit_stay_as_they_are() -> None:
    gate = Gateway()
    gate.route("/orders/{id}", to=SERVER)
    gate.use(KeyAuth(keys={"alice": "a-key"}))
    gate.use(BodyTransformer(response={"template": '{"id": "{{ body.id }}"}'}))

    def served(received: Received) -> Response:
        return Response.json({"id": "7"} if received.method == "GET" else {"error": "gone"}, 410)

    with TestGateway(gate, upstreams={SERVER: served}) as gateway:
        refused = gateway.get("/orders/7")
        fits = gateway.get("/orders/7", {"x-api-key": "a-key"})
        other = gateway.post("/orders/7", headers={"x-api-key": "a-key"}, body="x")
    assert (refused.status, refused.headers["content-type"]) == (401, "text/plain; charset=utf-8")
    assert "www-authenticate" in refused.headers and "a key is missing" in refused.text
    assert (fits.status, fits.text) == (410, '{"id": "7"}')
    assert (other.status, other.json()) == (410, {"error": "gone"})


def test_statuses_without_a_body_stay() -> None:
    for status in (204, 304):
        response, _ = ask(server=Response(status), response={"template": '"{{ body.a }}"'})
        assert (response.status, response.body) == (status, b"")


VALUE = {"name": 'a, "b"', "n": 1.5, "on": True, "none": None, "list": [1, "x"]}
FLAT = {"name": 'a, "b"', "n": "1.5"}
INPUTS: dict[str, tuple[bytes, str, Any]] = {
    "json": (json.dumps(VALUE).encode(), "application/json", VALUE),
    "xml": (b'<r><name>a, "b"</name><n>1.5</n></r>', "application/xml", None),
    "form": (b"name=a%2C+%22b%22&n=1.5", "application/x-www-form-urlencoded", FLAT),
    "csv": (b'name,n\r\n"a, ""b""",1.5\r\n', "text/csv", [FLAT]),
    "yaml": (
        b'name: "a, \\"b\\""\nn: 1.5\non: true\nnone: ~\nlist:\n- 1\n- x\n',
        "application/yaml",
        VALUE,
    ),
    "msgpack": (
        b'\x85\xa4name\xa6a, "b"\xa1n\xcb?\xf8\x00\x00\x00\x00\x00\x00\xa2on\xc3\xa4none\xc0\xa4list\x92\x01\xa1x',
        "application/vnd.msgpack",
        VALUE,
    ),
}
XML_AS_JSON = '{"name": "{{ body.r.name }}", "n": "{{ body.r.n }}"}'


def named_ones(names: Any) -> list[Any]:
    """Formats, but those whose library is not here."""
    missing = pytest.mark.skipif(
        importlib.util.find_spec("msgpack") is None, reason="no library `msgpack` here"
    )
    return [pytest.param(name, marks=missing) if "msgpack" in name else name for name in names]


@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize("named", named_ones(INPUTS))
def test_each_format_is_read_in_both_directions(named: str, side: str) -> None:
    body, kind, value = INPUTS[named]
    template = {"template": XML_AS_JSON if named == "xml" else "{{ body | tojson }}"}
    if side == "request":
        made = sent(template["template"], body, {"content-type": kind})
    else:
        server = Response(200, body, headers={"content-type": kind})
        response, _ = ask(server=server, response=template)
        assert (response.status, response.headers["content-type"]) == (200, "application/json")
        made = response.text
    assert json.loads(made) == (FLAT if value is None else value)


OUTPUTS: dict[str, tuple[str, str, Any]] = {
    "json": ('{"v": "{{ body.v }}"}', "application/json", lambda made: json.loads(made)["v"]),
    "xml": ("<v>{{ body.v }}</v>", "application/xml", lambda made: ElementTree.fromstring(made).text),
    "form": (
        "v={{ body.v }}&w=1",
        "application/x-www-form-urlencoded",
        lambda made: dict(parse_qsl(made.decode(), keep_blank_values=True, strict_parsing=True))["v"],
    ),
    "csv": (
        "v,w\r\n{{ body.v }},1\r\n",
        "text/csv; charset=utf-8",
        lambda made: next(csv.DictReader(io.StringIO(made.decode(), newline="")))["v"],
    ),
    "yaml": ("v: {{ body.v }}\nw: 1\n", "application/yaml", lambda made: yaml.safe_load(made)["v"]),
    "msgpack": (
        '{"v": "{{ body.v }}"}',
        "application/vnd.msgpack",
        lambda made: importlib.import_module("msgpack").unpackb(made)["v"],
    ),
    "text": ("{{ body.v }}", "text/plain; charset=utf-8", lambda made: made.decode()),
}


@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize("value", ["a", "1", "true", "&w=2", 'x","y', "a\nw: 2", "a\r\nb,c", "[a]", " ", "é"])
@pytest.mark.parametrize("output", named_ones(OUTPUTS))
def test_each_format_is_made_in_both_directions_and_values_stay_texts(
    output: str, value: str, side: str
) -> None:
    template, kind, read = OUTPUTS[output]
    body, said = json.dumps({"v": value}), {"template": template, "output": output}
    if side == "request":
        response, received = ask(body, request=said)
        assert received, response.text
        made, told = received.body, received.headers["content-type"]
    else:
        response, _ = ask(server=Response(200, body, headers=JSON), response=said)
        made, told = response.body, response.headers["content-type"]
    found = read(made)
    assert (found.replace("\r\n", "\n") if output == "xml" else found, told) == (
        value.replace("\r\n", "\n") if output == "xml" else value,
        kind,
    )


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        ("text/csv", b"a,b\n1\n", "has another length"),
        ("text/csv", b"a,a\n1,2\n", "has a column twice"),
        ("text/csv", b'a\n"1"2\n', "not valid CSV"),
        ("application/yaml", b"a: &x [1]\nb: *x", "has anchors, aliases or tags"),
        ("application/yaml", b"a: !!python/object:x {}", "has anchors, aliases or tags"),
        ("application/yaml", b"<<: {a: 1}", "a key that is not a text"),
        ("application/yaml", b"? [a]\n: 1", "a key that is not a text"),
        ("application/yaml", b"a: 1\na: 2", "a name twice"),
        ("application/yaml", b"a: 1\n---\nb: 2", "several documents"),
        ("application/yaml", b"a: [", "not valid YAML"),
        ("application/yaml", b"[" * 1000, "nested too deep"),
        ("application/yaml", b"a: " + b"x" * 70_000, "too large for YAML"),
        ("application/msgpack", b"\xc1", "not valid MessagePack"),
        ("application/msgpack", b"\x81\xa1a\xc4\x01\xff", "not valid MessagePack"),
        ("application/msgpack", b"\xd4\x05x", "extensions"),
        ("application/msgpack", b"\x81\x01\x02", "MessagePack|not a text"),
        ("application/msgpack", b"\x82\xa1a\x01\xa1a\x02", "a name twice"),
        ("application/msgpack", b"\x91" * 400 + b"\xc0", "MessagePack|nested too deep"),
        ("application/msgpack", b"\xdd\xff\xff\xff\xff", "not valid MessagePack"),
    ],
)
def test_what_readers_take_differently_is_refused(kind: str, body: bytes, error: str) -> None:
    if "msgpack" in kind:
        pytest.importorskip("msgpack")
    response, received = ask(body, {"content-type": kind}, request={"template": "{{ body | tojson }}"})
    assert response.status in (400, 413) and received is None
    assert re.search(error, response.json()["error"]), response.text


def test_yaml_is_read_by_its_version_1_2_and_numbers_stay_as_they_were_written() -> None:
    body = b"a: no\nb: 1.10\nc: 012\nd: 2001-01-01\ne: 1_000\nf: 9007199254740993\ng: '1'\nh: .inf"
    made = sent("{{ body | tojson }}", body, {"content-type": "text/yaml"})
    assert made == (
        '{"a":"no","b":1.10,"c":"012","d":"2001-01-01","e":"1_000","f":9007199254740993,"g":"1","h":".inf"}'
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "no body is transformed"),
        ({"request": {"template": "{% if %}"}}, "line 1 of the template is not valid"),
        ({"request": {"template": "file:/nowhere"}}, "cannot be read"),
        ({"request": {"template": "x", "output": "toml"}}, "cannot be `toml`"),
        ({"request": {"tempalte": "x"}}, "did you mean `template`"),
    ],
)
def test_wrong_settings_are_refused_with_a_hint(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Gateway().use(BodyTransformer(**config))


def test_a_template_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "template").write_text('["{{ body.a }}"]')
    assert sent(f"file:{tmp_path}/template", '{"a": "x"}') == '["x"]'
