"""What the command line of `headgate tunnel` comes to, and how long is waited between two dials."""

import ssl

import pytest

from headgate.tunnel.client import pause_s, why
from headgate.tunnel.handshake import (
    Refused,
    accepted,
    accepted_reversed,
    asked,
    check_response,
    check_reversed,
    request,
    reversed_request,
)
from headgate.tunnel.target import Target, exposed, place


def test_what_is_exposed() -> None:
    assert exposed("home=localhost:8888") == ("home", Target("localhost", 8888))
    assert exposed("home=8888") == ("home", Target("localhost", 8888))
    assert exposed("a-1=[::1]:80") == ("a-1", Target("::1", 80))
    assert exposed("app=unix:/run/app.sock") == ("app", Target("", 0, "/run/app.sock"))


@pytest.mark.parametrize("text", ["home", "home=", "=80", "Home=80", "endpoint=80", "a=x:0", "a=x:70000"])
def test_what_cannot_be_exposed(text: str) -> None:
    with pytest.raises(ValueError, match="hint"):
        exposed(text)


def test_where_the_gateway_is() -> None:
    assert place("gate.example.com") == ("gate.example.com", 443, "/_tunnel", True)
    assert place("https://gate.example.com:8443/in?a=1") == ("gate.example.com", 8443, "/in?a=1", True)
    assert place("https://[::1]:8443/in").authority == "[::1]:8443"
    assert place("http://127.0.0.1:80").authority == "127.0.0.1"
    assert place("http://far.example.com", is_plain_allowed=True).is_secure is False


@pytest.mark.parametrize(
    "url",
    [
        "http://far.example.com",
        "ftp://x",
        "https://u:p@x",
        "https://",
        "https://a/b c",
        "https://a/\r\nb: c",
        "https://\u00e4",
    ],
)
def test_where_it_cannot_be(url: str) -> None:
    with pytest.raises(ValueError, match="hint"):
        place(url)


def test_pauses_double_and_are_any_part_of_their_length() -> None:
    assert [pause_s(count, lambda: 1.0) for count in (1, 2, 3, 7, 100)] == [0.5, 1, 2, 30, 30]
    assert pause_s(3, lambda: 0.0) == 0


def test_a_handshake_carries_the_token_and_the_names() -> None:
    head, key = request("gate.test", "/_tunnel", "secret", ["home", "music"])
    wanted = asked(head.removesuffix(b"\r\n\r\n"))
    assert (wanted.key, wanted.token, wanted.names) == (key, "secret", ("home", "music"))
    check_response(accepted(key).removesuffix(b"\r\n\r\n"), key)
    with pytest.raises(Refused):
        check_response(accepted("another").removesuffix(b"\r\n\r\n"), key)
    with pytest.raises(Refused) as refused:
        check_response(b"HTTP/1.1 503 Service Unavailable", key)
    assert refused.value.status == 503


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (("Upgrade: websocket", "Upgrade: h2c"), 426),
        (("headgate-tunnel.1", "chat"), 400),
        (("Bearer secret", "Basic secret"), 401),
        (("Bearer secret", "Bearer"), 401),
        (("headgate-expose: home", "headgate-expose: ,"), 400),
        (("Sec-WebSocket-Key: ", "Sec-WebSocket-Key: a"), 400),
        (("Sec-WebSocket-Key: ", "Other-Key: "), 400),
    ],
)
def test_what_is_no_handshake_is_refused(change: tuple[str, str], status: int) -> None:
    head, _ = request("gate.test", "/_tunnel", "secret", ["home"])
    with pytest.raises(Refused) as refused:
        asked(head.decode().replace(*change).encode())
    assert refused.value.status == status


@pytest.mark.parametrize("status", ["\xb2\xb2\xb2", "9" * 5000, "1012", "", "x"])
def test_a_response_with_no_status_is_refused(status: str) -> None:
    with pytest.raises(Refused) as refused:
        check_response(f"HTTP/1.1 {status} x\r\n".encode("latin-1"), "key")
    assert refused.value.status == 400


def test_a_connection_beside_a_tunnel_says_which_and_for_what() -> None:
    head = reversed_request("gate.test", "/_tunnel", "secret", "home", "abc")
    wanted = asked(head.removesuffix(b"\r\n\r\n"))
    assert wanted == ("", "secret", ("home",), "abc", True)
    check_reversed(accepted_reversed("home").removesuffix(b"\r\n\r\n"), "home")
    for response in (accepted_reversed("other"), accepted("key"), b"HTTP/1.1 400 Bad Request\r\n\r\n"):
        with pytest.raises(Refused):
            check_reversed(response.removesuffix(b"\r\n\r\n"), "home")
    with pytest.raises(Refused) as refused:
        asked(head.replace(b"Bearer secret", b"Bearer ").removesuffix(b"\r\n\r\n"))
    assert refused.value.status == 401


def test_refusals_say_what_to_do() -> None:
    for status, setting in ((401, "`tunnels.tokens`"), (403, "`expose`"), (404, "`--to`")):
        said = Refused(status, "no").hint
        assert said.startswith("\n  hint: ") and setting in said
    assert Refused(503, "no").hint == ""


def test_unknown_authorities_say_what_to_do() -> None:
    assert "hint: `--ca`" in why(ssl.SSLCertVerificationError("self-signed"))
    assert why(OSError("refused")) == "refused" and why(TimeoutError()) == "TimeoutError"
