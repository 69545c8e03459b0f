"""Responses: bodies and their types, header fields, and what is refused."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from headgate.message import Response, ResponseHeaders


async def rows() -> AsyncIterator[bytes]:
    yield b"row"


def test_text_is_sent_as_utf8() -> None:
    response = Response(401, "who are you? ü")
    assert (response.status, response.body) == (401, "who are you? ü".encode())
    assert response.raw_headers == [(b"content-type", b"text/plain; charset=utf-8")]


def test_without_a_body_there_is_no_content_type() -> None:
    assert Response(204).raw_headers == []


@pytest.mark.parametrize("body", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_bytes_are_sent_as_they_are(body: Any) -> None:
    response = Response(200, body)
    assert response.body == b"x"
    assert response.headers["content-type"] == "application/octet-stream"


def test_a_given_content_type_stays() -> None:
    assert Response(200, "x", headers={"Content-Type": "text/csv"}).headers.items() == [
        ("Content-Type", "text/csv")
    ]


def test_json_is_short_and_keeps_letters() -> None:
    response = Response.json({"a": [1, "ü"]}, 201)
    assert (response.status, response.body) == (201, '{"a":[1,"ü"]}'.encode())
    assert response.headers["content-type"] == "application/json"


def test_html_and_text() -> None:
    assert Response.html("<p>").headers["content-type"] == "text/html; charset=utf-8"
    assert Response.text("x", 404).status == 404


def test_a_redirect_keeps_the_method_unless_told_otherwise() -> None:
    assert Response.redirect("/x").status == 307
    assert Response.redirect("/x", 303).headers["location"] == "/x"
    with pytest.raises(ValueError, match="`200` is not a redirect"):
        Response.redirect("/x", 200)


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("https://a.test:8080/b%20c?d=[e]&f='g'#h~_-.!$()*+,;@", None),
        ("/käse und brot", "/k%C3%A4se%20und%20brot"),
        ("/a\r\nset-cookie: b", "/a%0D%0Aset-cookie:%20b"),
        ("/\\evil", "/%5Cevil"),
        ('/\udcff<"`{|}^>', "/%FF%3C%22%60%7B%7C%7D%5E%3E"),
    ],
)
def test_a_redirect_goes_to_a_url(location: str, sent: str | None) -> None:
    assert Response.redirect(location).headers["location"] == (sent or location)


def test_a_generator_streams() -> None:
    stream = rows()
    assert Response.stream(stream, content_type="text/x").body is stream
    assert Response(200, stream).headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("body", [1, ["x"], {"a": 1}, iter([b"x"]), rows])
def test_other_bodies_are_refused_with_what_to_use(body: Any) -> None:
    with pytest.raises(TypeError, match=r"hint: .*Response\.json"):
        Response(200, body)


@pytest.mark.parametrize("status", [99, 100, 199, 600, 0, -1, True, "200", 200.0])
def test_what_is_no_status_is_refused(status: Any) -> None:
    with pytest.raises(ValueError, match="is not a valid response status"):
        Response(status)


def test_header_names_are_equal_whatever_their_case() -> None:
    headers = ResponseHeaders({"X-A": "1"})
    headers["x-a"] = "2"
    headers.add("X-a", "3")
    assert headers["X-A"] == "2"
    assert headers.get_all("x-A") == ["2", "3"]
    assert headers.keys() == ["x-a"]
    assert headers.values() == ["2", "3"]
    assert "X-A" in headers
    del headers["X-A"]
    assert "x-a" not in headers
    assert headers.get("x-a", "none") == "none"


def test_a_missing_header_is_a_key_error() -> None:
    headers = ResponseHeaders()
    with pytest.raises(KeyError):
        headers["x"]
    with pytest.raises(KeyError):
        del headers["x"]


def test_headers_take_pairs_mappings_and_other_headers() -> None:
    headers = ResponseHeaders([("a", "1"), ("a", "2")])
    assert ResponseHeaders(headers) == headers
    headers.update({"A": "3", "b": "4"})
    assert headers.items() == [("A", "3"), ("b", "4")]
    assert headers.setdefault("b", "5") == "4"
    assert list(headers) == ["a", "b"]
    assert len(headers) == 2


@pytest.mark.parametrize("value", ["a\r\nx: 1", "a\nb", "a\0b"])
def test_a_value_cannot_smuggle_a_second_field(value: str) -> None:
    with pytest.raises(ValueError, match="more than one line"):
        Response(200, headers={"x": value})


@pytest.mark.parametrize("name", ["", "a b", "a:", "ü", "x\r\n"])
def test_names_that_are_no_tokens_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid header field name"):
        Response(200, headers={name: "1"})


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Connection", "Upgrade"])
def test_framing_fields_are_the_gateways(name: str) -> None:
    with pytest.raises(ValueError, match="the gateway writes framing fields itself"):
        Response(200, headers={name: "1"})


def test_values_that_are_no_text_are_refused() -> None:
    with pytest.raises(TypeError):
        Response(200, headers={"x": 1})  # type: ignore[dict-item]


def test_text_that_is_not_utf8_does_not_fail() -> None:
    """A path or a field may hold any byte, which Python has as a surrogate."""
    assert Response(200, "a\udcffb").body == b"a?b"
    assert Response.html("\ud800").body == b"?"
    assert Response.json({"a": "\udcff"}).body == b'{"a":"\\udcff"}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [{"a": float("-inf")}]])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Response.json(value)
