"""Addresses: every form that is documented, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.config.addresses import parse_listen_address, parse_server, parse_server_address
from headgate.config.errors import ConfigError
from headgate.worker.proxying import listen_address


@pytest.mark.parametrize(
    ("text", "shown"),
    [(":8080", ":8080"), ("*:8080", ":8080"), ("8080", ":8080"), (8080, ":8080"), ("127.0.0.1:0", "127.0.0.1:0"),
     ("[::1]:8080", "[::1]:8080"), ("[::]:80", "[::]:80"), ("localhost:80", "localhost:80"),
     ("unix:/run/x.sock", "unix:/run/x.sock")],
)  # fmt: skip
def test_listen_addresses(text: Any, shown: str) -> None:
    assert str(parse_listen_address(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "8080x", ":", ":99999", "::1:80", "[::1]", "1.2.3:80", "1.2.3.400:80", "a b:80", "unix:x.sock", "-a:80",
     "unix:/" + "x" * 120, True, None, 1.5],
)  # fmt: skip
def test_what_is_no_listen_address_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_listen_address(text)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("text", "shown"),
    [("10.0.0.1:9000", "10.0.0.1:9000"), ("http://10.0.0.1:9000", "10.0.0.1:9000"), ("http://app", "app:80"),
     ("http://app/", "app:80"), ("http://[::1]", "[::1]:80"), ("http://[::1]:90/", "[::1]:90"),
     (":9000", "127.0.0.1:9000"), ("app_1.local:9000", "app_1.local:9000"), ("unix:/a", "unix:/a")],
)  # fmt: skip
def test_server_addresses(text: str, shown: str) -> None:
    assert str(parse_server_address(text)) == shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [("localhost", "is not a server's address"), ("app:0", "is not a server's address"),
     ("ftp://app", "scheme"), ("http://app/v1", "more than a host"), ("http://me@app", "more than a host"),
     ("https://", "no host"), ("https:///", "no host")],
)  # fmt: skip
def test_what_is_no_server_address_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_server_address(text)


@pytest.mark.parametrize(
    "text", ["https://", "https://localhost:99999", "https://localhost/x", "ftp://localhost", "https://a b"]
)
def test_where_proxy_cannot_listen_is_not_blamed_on_a_server(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        listen_address(text)
    problem = refused.value.problems[0]
    assert problem.message == f"`{text}` is not an address to listen on"
    assert "https://localhost:8443" in (problem.hint or "")


def test_proxy_listens_on_every_address_where_a_url_names_none() -> None:
    assert listen_address("https://:8443")[0] == ":8443"
    assert listen_address("https://localhost")[0] == "localhost:443"


def test_a_server_line_carries_options() -> None:
    assert parse_server("a:1 weight=2 fail_timeout=10s backup") == {
        "address": "a:1",
        "weight": "2",
        "fail_timeout": "10s",
        "backup": True,
    }


@pytest.mark.parametrize("line", ["a:1 weight", "a:1 backup=yes", "a:1 weight=1 weight=2"])
def test_malformed_server_options_are_refused(line: str) -> None:
    with pytest.raises(ConfigError):
        parse_server(line)


def test_a_misspelt_server_option_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_server("a:1 wieght=2")
    assert refused.value.hint == "did you mean `weight`?"


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_listen_address, parse_server_address, parse_server):
        try:
            parse(text)
        except ConfigError:
            pass
