"""key-auth: who shows a known key is let in, and is who the server is told."""

import hashlib
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Request, Response
from headgate.plugins import KeyAuth
from headgate.testing import Received, TestGateway, run_hook

KEYS = {
    "alice": "a-key",
    "bob": ["b-old", "b-new"],
    "carol": "sha256:" + hashlib.sha256(b"c-key").hexdigest(),
}


def ask(settings: dict[str, Any], **request: Any) -> tuple[int, Received | None]:
    response, received = run_hook(KeyAuth(keys=KEYS, **settings).request, **request)
    return response.status, received


@pytest.mark.parametrize(
    ("key", "consumer"), [("a-key", "alice"), ("b-old", "bob"), ("b-new", "bob"), ("c-key", "carol")]
)
def test_a_known_key_names_its_consumer_and_is_stripped(key: str, consumer: str) -> None:
    status, received = ask({}, headers={"X-API-Key": key})
    assert status == 200 and received
    assert received.headers["x-consumer"] == consumer
    assert "x-api-key" not in received.headers


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("x-api-key", "")],
        [("x-api-key", "A-KEY")],
        [("x-api-key", "a-key "), ("x-api-key", "a-key")],
        [("x-api-key", KEYS["carol"])],
        [("x-api-key", "\xff\xfe")],
        [("x-api-key", "k" * 8000)],
    ],
)
def test_anything_else_is_a_401_that_says_nothing_of_the_keys(headers: Any) -> None:
    response, received = run_hook(KeyAuth(keys=KEYS).request, headers=headers)
    assert response.status == 401 and received is None
    assert response.headers["www-authenticate"] == 'Key realm="headgate"'
    assert "a-key" not in response.text and "sha256" not in response.text


def test_a_key_in_the_query_is_stripped_and_the_rest_stays_as_it_was() -> None:
    status, received = ask({"header": None, "query": "k"}, target="/?x=%2F&k=a%2Dkey&y=1+2&kk=3")
    assert status == 200 and received and received.target == "/?x=%2F&y=1+2&kk=3"
    status, received = ask({"header": None, "query": "k"}, target="/?%6B=a-key")
    assert status == 200 and received and received.target == "/"


def test_a_key_in_a_cookie_is_stripped_and_the_others_stay() -> None:
    status, received = ask({"header": None, "cookie": "k"}, headers={"cookie": "x=1; k=a-key; y=2"})
    assert status == 200 and received and received.headers["cookie"] == "x=1; y=2"
    status, received = ask({"header": None, "cookie": "k"}, headers={"cookie": "k=a-key"})
    assert status == 200 and received and "cookie" not in received.headers


@pytest.mark.parametrize(
    ("settings", "request_"),
    [
        ({"query": "k"}, {"target": "/?k=a-key", "headers": {"x-api-key": "b-old"}}),
        ({"query": "k", "header": None}, {"target": "/?k=a-key&k=a-key"}),
        ({"cookie": "k", "header": None}, {"headers": {"cookie": "k=a-key; x=1;k=b-old"}}),
        ({"cookie": "k", "header": None}, {"headers": [("cookie", "k=b-old"), ("cookie", "k=a-key")]}),
    ],
)
def test_keys_in_two_places_are_refused(settings: dict[str, Any], request_: dict[str, Any]) -> None:
    assert ask(settings, **request_)[0] == 401


def test_a_scheme_stands_before_the_key() -> None:
    settings = {"header": "authorization", "scheme": "Bearer"}
    assert ask(settings, headers={"authorization": "bearer a-key"})[0] == 200
    assert ask(settings, headers={"authorization": "a-key"})[0] == 401
    assert ask(settings, headers={"authorization": "Basic a-key"})[0] == 401


@pytest.mark.parametrize("name", ["x-consumer", "X-Consumer", "X_Consumer", "x_consumer"])
@pytest.mark.parametrize("case", ["skipped", "anonymous", "known"])
def test_a_client_never_says_who_it_is(name: str, case: str) -> None:
    gate = Gateway()
    gate.route("/", to="server.test:80")
    gate.use(KeyAuth(keys=KEYS, anonymous="guest" if case == "anonymous" else None), on="/api/*")
    headers = [(name, "admin"), *([("x-api-key", "a-key")] if case == "known" else [])]
    with TestGateway(gate, upstreams={"server.test:80": Response(200)}) as gateway:
        assert gateway.get("/open" if case == "skipped" else "/api/x", headers).status == 200
        told = [
            value
            for key, value in gateway.received[0].headers.raw
            if key.lower().replace("_", "-") == "x-consumer"
        ]
    assert told == {"skipped": [], "anonymous": ["guest"], "known": ["alice"]}[case]


def test_a_wrong_key_is_not_anonymous() -> None:
    assert ask({"anonymous": "guest"}, headers={"x-api-key": "wrong"})[0] == 401


def test_others_find_the_consumer() -> None:
    gate, seen = Gateway(), []
    gate.use(KeyAuth(keys=KEYS))

    @gate.route("/")
    def response(request: Request) -> Response:
        seen.append(request.state.consumer)
        return Response(200)

    with TestGateway(gate) as gateway:
        gateway.get("/", {"x-api-key": "a-key"})
    assert seen == ["alice"]


def test_refusals_are_counted() -> None:
    gate, plugin = Gateway(), KeyAuth(keys=KEYS)
    gate.route("/", respond="in")
    gate.use(plugin)
    with TestGateway(gate) as gateway:
        for _ in range(3):
            gateway.get("/")
    assert plugin._denied.value == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keys": {"a": "x", "b": "x"}}, "have the same key"),
        ({"keys": {"a": ""}}, "is empty"),
        ({"keys": {"a": "sha256:00"}}, "is not a valid SHA-256 hash"),
        ({"keys": {"a": "sha256:zz"}}, "is not a valid SHA-256 hash"),
    ],
)
def test_keys_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gateway().use(KeyAuth(**settings))
    with pytest.raises(ConfigError, match="keys have no source"):
        KeyAuth(keys=KEYS, header=None)
