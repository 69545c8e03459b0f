"""follow-redirects: where the gateway follows, with which method, and what another host never learns."""

from typing import Any

import pytest

from headgate import ConfigError, Gateway, Response
from headgate.plugins import FollowRedirects
from headgate.testing import Fault, Received, TestGateway, TestResponse

SERVER, CDN = "server.test:80", "http://cdn.example"
HOME = {"host": "gateway.test"}


def to(location: str, status: int = 302, **fields: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return Response(status, headers={"location": location, **named})


def ask(
    paths: dict[str, Any],
    target: str = "/a",
    *,
    method: str = "GET",
    headers: Any = HOME,
    body: Any = None,
    cdn: Any = "cdn",
    **config: Any,
) -> tuple[TestResponse, list[Received]]:
    def served(received: Received) -> Any:
        return paths.get(received.target, Response(404, "none"))

    gate = Gateway()
    gate.upstream("app", SERVER)
    gate.route("/", to="app")
    gate.use(FollowRedirects(**config))
    with TestGateway(gate, upstreams={SERVER: served, CDN: cdn}) as gateway:
        response = gateway.request(method, target, headers, body=body)
        return response, gateway.received


FOUND = Response(200, "found", headers={"x-own": "1", "etag": '"1"'})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["/b", "http://gateway.test/b", "//gateway.test/b", "HTTP://GATEWAY.TEST:80/b#x", "./b"]
)
def test_redirects_to_the_same_host_are_followed(status: int, location: str) -> None:
    response, received = ask({"/a": to(location, status), "/b": FOUND})
    assert (response.status, response.text, response.headers["x-own"]) == (200, "found", "1")
    assert [(one.method, one.target, one.headers["host"]) for one in received] == [
        ("GET", "/a", "gateway.test"),
        ("GET", "/b", "gateway.test"),
    ]


@pytest.mark.parametrize(
    "location",
    [
        "http://evil.example/",
        "//evil.example/b",
        "http://gateway.test:8080/b",
        "http://gateway.test.evil.example/",
        "http://gateway.test@evil.example/",
        "http:\\\\evil.example/",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "javascript:x",
        "http://[::1",
        "http://cdn.example/x",
    ],
)
def test_other_redirects_are_the_clients(location: str) -> None:
    response, received = ask({"/a": to(location)})
    assert response.status == 302 and response.headers["location"] == location and len(received) == 1


def test_other_statuses_and_redirects_without_a_place_stay() -> None:
    for status in (300, 304, 201):
        assert ask({"/a": to("/b", status), "/b": FOUND})[0].status == status
    assert ask({"/a": Response(302)})[0].status == 302


SECRETS = {
    "authorization": "t",
    "cookie": "a=1",
    "x-api-key": "k",
    "x-consumer": "alice",
    "referer": "http://gateway.test/secret",
    "accept": "text/x",
    **HOME,
}


def test_another_host_learns_no_credentials_and_gives_no_cookies() -> None:
    cdn = Response(200, "cdn", headers={"set-cookie": "evil=1", "x-cdn": "1"})
    response, received = ask(
        {"/a": to("http://cdn.example/x?y", set_cookie="own=1")},
        headers=SECRETS,
        cdn=cdn,
        allow=["http://cdn.example"],
    )
    assert (response.text, response.headers["x-cdn"]) == ("cdn", "1")
    assert response.headers.get_all("set-cookie") == ["own=1"]
    other = received[1]
    assert (other.target, other.headers["host"], other.headers["accept"]) == ("/x?y", "cdn.example", "text/x")
    assert not (set(SECRETS) - {"accept", "host"}) & set(other.headers)
    assert received[0].headers["authorization"] == "t"


def test_who_comes_back_from_another_host_has_no_credentials_either() -> None:
    _, received = ask(
        {"/a": to("http://cdn.example/x"), "/b": FOUND},
        headers=SECRETS,
        cdn=to("http://gateway.test/b", set_cookie="evil=1"),
        allow=["http://cdn.example"],
    )
    assert [one.target for one in received] == ["/a", "/x", "/b"]
    assert not {"authorization", "cookie", "x-api-key"} & set(received[2].headers)


def test_at_home_fields_and_cookies_go_on() -> None:
    response, received = ask({"/a": to("/b", set_cookie="s=1"), "/b": FOUND}, headers=SECRETS)
    assert received[1].headers["authorization"] == "t" and received[1].headers["cookie"] == "a=1"
    assert response.headers.get_all("set-cookie") == ["s=1"]


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [
        ("HEAD", 302, "HEAD"),
        ("HEAD", 303, "HEAD"),
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("PUT", 303, "GET"),
        ("POST", 307, "POST"),
        ("PUT", 302, "PUT"),
        ("DELETE", 308, "DELETE"),
    ],
)
def test_methods_are_those_of_rfc_9110(method: str, status: int, then: str) -> None:
    body = "data" if method in ("POST", "PUT") else None
    fields = {"content-type": "text/x", **HOME} if body else HOME
    methods = ["GET", "HEAD", "POST", "PUT", "DELETE"]
    response, received = ask(
        {"/a": to("/b", status), "/b": FOUND}, method=method, body=body, headers=fields, methods=methods
    )
    assert response.status == 200
    again = received[1]
    assert (again.method, again.body.decode()) == (then, "data" if body and then != "GET" else "")
    assert again.headers.get("content-type") == ("text/x" if body and then != "GET" else None)


def test_what_is_not_listed_or_cannot_be_sent_again_goes_to_the_client() -> None:
    paths = {"/a": to("/b", 307), "/b": FOUND}
    assert ask(paths, method="POST", body="x")[0].status == 307
    assert ask(paths, method="POST", body="x" * 11, methods=["POST"], max_body_bytes=10)[0].status == 307
    assert ask(paths, method="POST", body="x" * 10, methods=["POST"], max_body_bytes=10)[0].status == 200


def test_circles_end() -> None:
    response, received = ask({"/a": to("/a")}, max_redirects=4)
    assert response.status == 502 and len(received) == 5


def test_a_chain_that_leaves_ends_where_it_leaves() -> None:
    response, _ = ask({"/a": to("/b"), "/b": to("http://evil.example/")})
    assert (response.status, response.headers["location"]) == (302, "http://evil.example/")


def test_servers_that_are_away_are_a_502() -> None:
    response, _ = ask({"/a": to("http://cdn.example/x")}, cdn=Fault.REFUSE, allow=["http://cdn.example"])
    assert response.status == 502


@pytest.mark.parametrize(
    "settings",
    [
        {"allow": ["cdn.example"]},
        {"allow": ["http://a/b"]},
        {"allow": ["http://u@a"]},
        {"allow": ["ftp://a"]},
        {"methods": ["TRACE"]},
        {"methods": []},
        {"max_redirects": 0},
        {"max_redirects": 21},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        FollowRedirects(**settings)


@pytest.mark.parametrize(("body", "status"), [("3\r\nabc\r\n0\r\n\r\n", 307), ("0\r\n\r\n", 200)])
def test_a_get_whose_body_has_no_length_is_not_sent_again_without_it(body: str, status: int) -> None:
    headers = {**HOME, "transfer-encoding": "chunked"}
    response, received = ask({"/a": to("/b", 307), "/b": FOUND}, headers=headers, body=body)
    assert response.status == status
    assert [one.body for one in received] == ([b"abc"] if status == 307 else [b"", b""])


def test_after_a_303_there_is_no_body_to_send_again() -> None:
    paths = {"/a": to("/b", 303), "/b": to("/c", 307), "/c": FOUND}
    response, received = ask(paths, method="POST", body="abc", methods=["POST"])
    assert (response.status, response.text) == (200, "found")
    assert [(one.method, one.body) for one in received] == [("POST", b"abc"), ("GET", b""), ("GET", b"")]
    assert not {"content-length", "content-type"} & set(received[2].headers)
