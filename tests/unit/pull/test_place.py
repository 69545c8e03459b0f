"""Where a worker connects to."""

import pytest

from headgate.pull.place import Place, parsed


@pytest.mark.parametrize(
    ("url", "place", "authority"),
    [
        ("http://a", Place("a", 80, "/", False), "a"),
        ("http://a:81/w?x=1", Place("a", 81, "/w?x=1", False), "a:81"),
        ("https://a/w", Place("a", 443, "/w", True), "a"),
        ("https://[::1]:444/w", Place("::1", 444, "/w", True), "[::1]:444"),
        ("unix:/run/g.sock", Place("/run/g.sock", 0, "/", False), "localhost"),
        ("unix:/run/g.sock:/w", Place("/run/g.sock", 0, "/w", False), "localhost"),
    ],
)
def test_url_is_taken_apart(url: str, place: Place, authority: str) -> None:
    assert parsed(url) == place
    assert parsed(url).authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "a:80",
        "ftp://a",
        "http://",
        "http://u@a/",
        "http://a/#x",
        "unix:a",
        "http://a:x",
        "http://a/b c",
        "http://a/\r\nb",
    ],
)
def test_what_is_no_url_of_a_gateway_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        parsed(url)
