"""jq, jsonpath, json-patch: what becomes of JSON bodies, what stays as it was written, and what is too much."""

import gzip
import json
from typing import Any

import brotli
import pytest

from headgate import ConfigError, Gateway, Plugin, Response
from headgate.plugins import Compression, Jq, JsonPatch, Jsonpath
from headgate.testing import Received, TestGateway, TestResponse

SERVER = "server.test:80"
JSON = {"content-type": "application/json"}


def ask(
    plugin: Plugin, body: Any = None, *, headers: Any = JSON, server: Any = "ok", others: Any = ()
) -> tuple[TestResponse, Received | None]:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(plugin)
    for one in others:
        gate.use(one)
    with TestGateway(gate, upstreams={SERVER: server}) as gateway:
        response = gateway.request("POST" if body is not None else "GET", "/", headers, body=body)
        return response, gateway.received[0] if gateway.received else None


def sent(plugin: Plugin, body: Any, **more: Any) -> str:
    response, received = ask(plugin, body, **more)
    assert response.status == 200 and received is not None, response.text
    assert received.headers["content-length"] == str(len(received.body))
    return received.body.decode()


def replied(plugin: Plugin, body: Any, kind: str = "application/json", **fields: str) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return ask(plugin, server=Response(200, body, headers={"content-type": kind, **named}))[0]


def jq(program: str, **more: Any) -> Jq:
    return Jq(request={"program": program}, **more)


def query(text: str, **more: Any) -> Jsonpath:
    return Jsonpath(request={"query": text, **more})


def patch(*steps: Any, **more: Any) -> JsonPatch:
    return JsonPatch(request={"patch": list(steps), **more})


NUMBERS = '{"a":9007199254740993,"b":1.10,"c":0.1e-7,"d":123456789012345678901234567890,"e":1e400,"f":-0}'


@pytest.mark.parametrize(
    "plugin",
    [
        lambda: patch({"op": "test", "path": "/b", "value": 1.1}),
        lambda: JsonPatch(request={"merge": {"none": None}}),
        lambda: query("$", output="first"),
    ],
)
def test_numbers_stay_as_they_were_written(plugin: Any) -> None:
    assert sent(plugin(), NUMBERS) == NUMBERS


def test_jq_keeps_every_digit_of_what_it_does_not_compute_with() -> None:
    made = json.loads(sent(jq("{a, d, more: (.a | tostring | length)}"), NUMBERS), parse_int=str)
    assert made["a"] == "9007199254740993" and made["d"] == "123456789012345678901234567890"


@pytest.mark.parametrize(
    ("program", "output", "made"),
    [
        (".items[] | .n", "one", "1"),
        (".items[] | .n", "list", "[1,2]"),
        (".items[] | .n", "lines", "1\n2\n"),
        ("[.items[].n] | add # a comment", "one", "3"),
        ("def f: . + 1; .items | map(.n | f)", "one", "[2,3]"),
        ("empty", "list", "[]"),
        ("env, $ENV", "list", "[{},{}]"),
        ('"ü\\u0000"', "one", '"ü\\u0000"'),
    ],
)
def test_programs_make_bodies(program: str, output: str, made: str) -> None:
    plugin = Jq(request={"program": program, "output": output})
    assert sent(plugin, '{"items":[{"n":1},{"n":2}]}') == made


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("def f: f; f", 413),
        ("[range(1e12)]", 413),
        ("[limit(1e9; repeat(.))] | length", 413),
        ('reduce range(40) as $n ("x"; . + .)', 413),
        ("range(1e12)", 413),
        (".a.b", 400),
        ("empty", 400),
        ('error("no")', 400),
    ],
)
def test_programs_that_do_too_much_or_fail_harm_nobody(program: str, status: int) -> None:
    plugin = Jq(
        request={"program": program, "output": "one" if status == 400 else "list"},
        timeout=0.3,  # of the processor, which gives way to everything else that runs
        max_memory_bytes=64 << 20,
        max_body_bytes=100_000,
    )
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(plugin)
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        response = gateway.post("/", '{"a": [1]}', JSON)
        assert response.status == status and set(response.json()) == {"error"}
        assert gateway.received == []
        assert gateway.get("/").text == "ok"


def test_a_refusal_is_not_transformed_as_if_a_server_had_said_it() -> None:
    plugin = Jq(request={"program": ".a.b"}, response={"program": ".none.none"})
    response, _ = ask(plugin, '{"a": [1]}')
    assert response.status == 400 and "is not what the program wants" in response.json()["error"]


def test_an_error_that_a_program_does_not_fit_stays_as_it_is() -> None:
    for status, expected in ((404, 404), (200, 502)):
        server = Response.json({"items": [1]}, status)
        response, _ = ask(Jq(response={"program": ".items.n"}), server=server)
        assert response.status == expected
        assert ("items" in response.json()) == (expected == 404)


def test_who_waits_too_long_for_a_process_may_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.plugins._processes.LONGEST_WAIT", 0.3)
    response, received = ask(Jq(request={"program": "def f: f; f"}, timeout=60), "{}")
    assert (response.status, received) == (503, None)


@pytest.mark.parametrize(
    ("text", "more", "made"),
    [
        ("$.items[*].n", {}, "[1,2.50]"),
        ("$.items[*].n", {"output": "first"}, "1"),
        ("$.none", {"output": "first"}, "null"),
        ("$.items[?@.n > 2].name", {}, '["b"]'),
        ("$.items[?@.n == 2.5].name", {}, '["b"]'),
        ('$.items[?match(@.name, "[a-b]")].n', {}, "[1,2.50]"),
    ],
)
def test_queries_find_what_rfc_9535_says(text: str, more: Any, made: str) -> None:
    body = '{"items":[{"n":1,"name":"a"},{"n":2.50,"name":"b"}]}'
    assert sent(query(text, **more), body) == made


def test_several_queries_make_an_object() -> None:
    plugin = Jsonpath(request={"members": {"id": "$.order.id", "none": "$.x", "all": "$..id"}})
    assert sent(plugin, '{"order":{"id":7}}') == '{"id":7,"none":null,"all":7}'


def test_filters_below_filters_are_ended() -> None:
    plugin = Jsonpath(request={"query": "$..[?$..[?$..[?$..a]]]"}, timeout=0.3)
    response, received = ask(plugin, "[" + ",".join(['{"b":[1,2,3]}'] * 3000) + "]")
    assert response.status == 413 and received is None


BEFORE = {"a": {"b": [1, 2]}, "c/d": 1, "~": 2}


@pytest.mark.parametrize(
    ("steps", "after"),
    [
        ([{"op": "add", "path": "/a/b/-", "value": 3}], {"a": {"b": [1, 2, 3]}, "c/d": 1, "~": 2}),
        ([{"op": "add", "path": "/a/b/0", "value": None}], {"a": {"b": [None, 1, 2]}, "c/d": 1, "~": 2}),
        ([{"op": "remove", "path": "/c~1d"}], {"a": {"b": [1, 2]}, "~": 2}),
        ([{"op": "replace", "path": "/~0", "value": {}}], {"a": {"b": [1, 2]}, "c/d": 1, "~": {}}),
        ([{"op": "move", "from": "/a/b", "path": "/b"}], {"a": {}, "b": [1, 2], "c/d": 1, "~": 2}),
        ([{"op": "copy", "from": "/a", "path": "/~0"}], {"a": {"b": [1, 2]}, "c/d": 1, "~": {"b": [1, 2]}}),
        ([{"op": "replace", "path": "", "value": [1]}], [1]),
        ([{"op": "test", "path": "/a", "value": {"b": [1.0, 2]}}], BEFORE),
    ],
)
def test_patches_do_what_rfc_6902_says(steps: list[Any], after: Any) -> None:
    assert json.loads(sent(patch(*steps), json.dumps(BEFORE))) == after


@pytest.mark.parametrize(
    "steps",
    [
        [{"op": "remove", "path": "/none"}],
        [{"op": "add", "path": "/a/b/3", "value": 1}],
        [{"op": "add", "path": "/a/b/00", "value": 1}],
        [{"op": "replace", "path": "/a/b/-", "value": 1}],
        [{"op": "add", "path": "/~0/x", "value": 1}],
        [{"op": "test", "path": "/~0", "value": True}],
        [{"op": "add", "path": "/x", "value": 1}, {"op": "remove", "path": "/y"}],
    ],
)
def test_a_patch_that_does_not_apply_changes_nothing(steps: list[Any]) -> None:
    response, received = ask(patch(*steps), json.dumps(BEFORE))
    assert (response.status, received) == (400, None) and "operation" in response.json()["error"]


def test_a_failed_test_may_leave_the_body_as_it_was() -> None:
    steps = [{"op": "add", "path": "/x", "value": 1}, {"op": "test", "path": "/~0", "value": 9}]
    body = json.dumps(BEFORE)
    assert sent(patch(*steps, failed_test="pass"), body) == body
    response, received = ask(patch({"op": "remove", "path": "/none"}, failed_test="pass"), body)
    assert (response.status, received) == (400, None)


def test_copies_that_double_a_body_are_bounded() -> None:
    steps = [{"op": "copy", "from": "", "path": f"/{n}"} for n in range(60)]
    response, received = ask(patch(*steps), json.dumps({"a": "x" * 1000}))
    assert (response.status, received) == (413, None)


def test_merge_patches_do_what_rfc_7396_says() -> None:
    merge = {"a": {"b": None, "c": 1}, "~": None, "new": {"x": None, "y": [None]}}
    made = json.loads(sent(JsonPatch(request={"merge": merge}), json.dumps(BEFORE)))
    assert made == {"a": {"c": 1}, "c/d": 1, "new": {"y": [None]}}
    assert json.loads(sent(JsonPatch(request={"merge": {"a": 1}}), "[1]")) == {"a": 1}


SIMPLE = [
    lambda which: Jq(**{which: {"program": "{b: .a}"}}),
    lambda which: Jsonpath(**{which: {"members": {"b": "$.a"}}}),
    lambda which: JsonPatch(**{which: {"patch": [{"op": "move", "from": "/a", "path": "/b"}]}}),
]


@pytest.mark.parametrize("plugin", SIMPLE)
def test_responses_are_transformed_whatever_their_coding(plugin: Any) -> None:
    fields = {"etag": '"1"', "last_modified": "x", "content_md5": "x", "repr_digest": "x"}
    response = replied(plugin("response"), '{"a": 1.10}', "application/problem+json", **fields)
    assert response.text == '{"b":1.10}' and response.headers["content-type"] == "application/problem+json"
    assert not {"etag", "last-modified", "content-md5", "repr-digest"} & set(response.headers)
    coded = replied(plugin("response"), gzip.compress(b'{"a": 1}'), content_encoding="gzip")
    assert coded.text == '{"b":1}' and "content-encoding" not in coded.headers
    other = replied(plugin("response"), brotli.compress(b'{"a": 1}'), content_encoding="br")
    assert other.text == '{"b":1}' and "content-encoding" not in other.headers


@pytest.mark.parametrize("plugin", SIMPLE)
def test_what_is_not_json_or_may_not_be_transformed_stays_as_it_is(plugin: Any) -> None:
    text = '{"a": 1}'
    assert replied(plugin("response"), text, "text/plain").text == text
    assert replied(plugin("response"), text, cache_control="max-age=1, no-transform").text == text
    assert sent(plugin("request"), text, headers={"content-type": "text/plain"}) == text
    assert replied(plugin("request"), text).text == text
    empty = ask(plugin("response"), server=Response(204))[0]
    assert empty.status == 204 and empty.body == b""


@pytest.mark.parametrize("plugin", SIMPLE)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ('{"a": 1, "a": 2}', 400),
        ('{"a": NaN}', 400),
        ("[" * 100 + "]" * 100, 400),
        (b'{"a": "\xff"}', 400),
        (f'{{"a": "{"x" * 1_100_000}"}}', 413),
    ],
)
def test_what_parsers_read_differently_is_refused(plugin: Any, body: Any, status: int) -> None:
    response, received = ask(plugin("request"), body)
    assert (response.status, received) == (status, None) and response.json()["error"]
    if status == 400:
        assert replied(plugin("response"), body).status == 502


@pytest.mark.parametrize("plugin", SIMPLE)
def test_what_was_made_is_compressed_for_clients_that_take_it(plugin: Any) -> None:
    response, received = ask(
        plugin("response"),
        headers={"accept-encoding": "gzip"},
        server=Response.json({"a": "x" * 2000}),
        others=[Compression()],
    )
    assert received is not None and received.headers["accept-encoding"] == "identity"
    assert response.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(response.body)) == {"b": "x" * 2000}


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Jq, {}),
        (Jq, {"request": {"program": ""}}),
        (Jq, {"request": {"program": ".["}}),
        (Jq, {"request": {"program": ".) | (."}}),
        (Jq, {"request": {"program": 'import "a" as a; .'}}),
        (Jq, {"request": {"program": "$none"}}),
        (Jq, {"request": {"program": "file:/none"}}),
        (Jq, {"request": {"program": ".", "output": "all"}}),
        (Jsonpath, {}),
        (Jsonpath, {"request": {}}),
        (Jsonpath, {"request": {"query": "items"}}),
        (Jsonpath, {"request": {"query": "$[?none(@.a)]"}}),
        (Jsonpath, {"request": {"query": "$", "members": {"a": "$"}}}),
        (Jsonpath, {"request": {"members": {"a": "$["}}}),
        (JsonPatch, {}),
        (JsonPatch, {"request": {}}),
        *(
            (JsonPatch, {"request": {"patch": [step]}})
            for step in (
                {"op": "set", "path": "/a", "value": 1},
                {"op": "add", "path": "/a"},
                {"op": "add", "path": "a", "value": 1},
                {"op": "add", "path": "/~2", "value": 1},
                {"op": "remove", "path": "/a", "value": 1},
                {"op": "move", "path": "/a/b", "from": "/a"},
                {"op": "copy", "path": "/a"},
                {"op": "test", "path": "/a", "value": 1, "more": 1},
            )
        ),
    ],
)
def test_wrong_settings_are_refused(kind: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Gateway().use(kind(**settings))
