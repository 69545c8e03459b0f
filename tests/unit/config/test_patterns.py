"""Patterns: what is refused at load, and that a plugin's path pattern sees paths as the router does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.config.errors import ConfigError
from headgate.config.patterns import check_host, check_method, check_path, covers, matches_path, normal_path


@pytest.mark.parametrize(
    "pattern",
    [
        "/",
        "/*",
        "*",
        "/a",
        "=/a{b*",
        "/a/*",
        "/img*",
        "/{a}/v{b}.json/{c:path}",
        "~^/v[0-9]+",
        "~*x",
        r"~(?<n>\d+)",
    ],
)
def test_path_patterns_that_routers_know_pass(pattern: str) -> None:
    assert check_path(pattern) == pattern


@pytest.mark.parametrize(
    "pattern", ["a", "", "=a", "/{a", "/a}", "/{1}", "/*/a", "/{a}/{a}", "~(", "~(?=x)", "~(?<!x)"]
)
def test_path_patterns_that_no_router_reads_are_refused(pattern: str) -> None:
    with pytest.raises(ConfigError):
        check_path(pattern)


@pytest.mark.parametrize("pattern", ["a/b", "", "a b", "*a.com", "a.*.com", "*.*", "~["])
def test_malformed_hosts_are_refused(pattern: str) -> None:
    with pytest.raises(ConfigError):
        check_host(pattern)


def test_methods_are_raised_to_capitals() -> None:
    assert check_method("get") == "GET"


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/api/*", "/api", True),
        ("/api/*", "/api/", True),
        ("/api/*", "/api/x/y", True),
        ("/api/*", "/apix", False),
        ("/img*", "/img2/x", True),
        ("/api", "/api/", False),
        ("=/api", "/api", True),
        ("/{v}/x", "/1/x", True),
        ("/{v}/x", "/1/2/x", False),
        ("/f/{rest:path}", "/f", True),
        ("/f/{rest:path}", "/f/a/b", True),
        ("/{v}/*", "/1", True),
        ("~^/v[0-9]+/", "/v1/x", True),
        ("~*^/V1", "/v1", True),
        ("/", "/anything", True),
        ("/*", "*", True),
    ],
)
def test_paths_fit_patterns_as_in_the_router(pattern: str, path: str, fits: bool) -> None:
    assert matches_path(pattern)(path) is fits


@pytest.mark.parametrize(
    "spelling",
    ["/%61pi/x", "/public/../api/x", "/./api/x", "/a/%2e%2e/api/x", "/%61%70%69", "/b/c/../../api/"],
)
def test_another_spelling_of_a_path_does_not_go_round_a_pattern(spelling: str) -> None:
    assert matches_path("/api/*")(spelling)


def test_text_beyond_ascii_fits_its_escapes() -> None:
    assert matches_path("/ü/*")("/%c3%bc/x")
    assert matches_path("/a b")("/a%20b")


def test_an_escaped_slash_is_no_separator() -> None:
    assert normal_path("/a%2fb") == "/a%2Fb"
    assert not matches_path("/a/*")("/a%2fb")


@pytest.mark.parametrize(
    ("pattern", "route", "verdict"),
    [
        ("/api/*", "/api/v1/*", True),
        ("/api/*", "/api/*", True),
        ("/api/*", "/api/{v}", True),
        ("/api/*", "/api", True),
        ("/api/*", "=/api/x", True),
        ("/*", "~x", True),
        ("/api/*", "/", None),
        ("/api/*", "/*", None),
        ("/api/*", "/{a}/*", None),
        ("/api/*", "~^/api/", None),
        ("/api/*", "/api*", None),
        ("/{v}/x", "/a/*", None),
        ("/api/*", "/other/*", False),
        ("/api/*", "/apix/*", False),
        ("/api/*", "/apix", False),
    ],
)
def test_what_a_pattern_covers_of_a_route(pattern: str, route: str, verdict: bool | None) -> None:
    assert covers(pattern, route) is verdict


_SEGMENTS = st.lists(st.sampled_from(["api", "a", "v1", "%61pi", "apix", "..", ".", ""]), max_size=4)
_ROUTES = ["/", "/api", "/api/*", "/api/{v}", "/{x}/*", "/a/{x:path}", "/apix/*", "/api*", "~^/a", "=/api/v1"]
_PATTERNS = ["/api/*", "/a*", "/api/v1/*", "/{x}/v1", "~api", "/apix", "/a/{r:path}"]


@given(_SEGMENTS, st.sampled_from(_ROUTES), st.sampled_from(_PATTERNS))
def test_the_verdict_on_a_route_holds_for_each_of_its_paths(
    segments: list[str], route: str, pattern: str
) -> None:
    path = "/" + "/".join(segments)
    if matches_path(route)(path) and (verdict := covers(pattern, route)) is not None:
        assert matches_path(pattern)(path) is verdict
