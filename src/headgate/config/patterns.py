"""Patterns of hosts, paths and methods: refused here when no router could read them, matched where Python must."""

from __future__ import annotations

import re
from collections.abc import Callable

from .errors import ConfigError

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:path)?\}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNRESERVED = re.compile(r"%([0-9A-Fa-f]{2})")


def check_method(value: str) -> str:
    """A method as it is sent; letters are raised to capitals."""
    if not _TOKEN.fullmatch(value):
        raise ConfigError(f"`{value}` is no method", hint="write `GET`")
    return value.upper()


def check_host(value: str) -> str:
    """A host pattern: exact, `*.suffix`, `prefix.*`, `~regex` or `*`."""
    if value.startswith("~"):
        _check_regex(value[1:])
        return value
    if re.search(r"[\s/]", value) or not value:
        raise ConfigError(f"`{value}` is no host", hint="write `example.com`, `*.example.com` or `~regex`")
    stars = value.count("*")
    if stars > 1 or (stars and value != "*" and not value.startswith("*.") and not value.endswith(".*")):
        raise ConfigError(f"`{value}` has its `*` in a wrong place", hint="write `*.example.com` or `www.*`")
    return value


def check_path(value: str) -> str:
    """A path pattern: `/x`, `=/x`, `/x/*`, `/{name}/{rest:path}`, `~regex` or `~*regex`."""
    if value.startswith("~"):
        _check_regex(value.removeprefix("~").removeprefix("*"))
        return value
    literal = value.removeprefix("=")
    if not literal.startswith("/"):
        raise ConfigError(
            f"`{value}` is no path pattern", hint=f"write `/{literal.lstrip('/')}`, or `~` and a regex"
        )
    if value.startswith("="):
        return value
    rest = _PARAMETER.sub("", literal)
    if "{" in rest or "}" in rest:
        raise ConfigError(
            f"`{value}` has a parameter that cannot be read", hint="write `{name}` or `{name:path}`"
        )
    if "*" in rest.removesuffix("*"):
        raise ConfigError(
            f"`{value}` has its `*` in a wrong place", hint="`*` comes last; `{name}` is one segment"
        )
    names = [match[1] for match in _PARAMETER.finditer(literal)]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"`{value}` has the parameter `{doubled}` twice")
    return value


def matches_path(pattern: str) -> Callable[[str], bool]:
    """A function that says whether a path matches `pattern`, by the path as received or as routers read it."""
    fits = _compiled(pattern).fullmatch if not pattern.startswith("~") else _compiled(pattern).search
    return lambda path: fits(path) is not None or fits(normal_path(path)) is not None


def covers(pattern: str, route_path: str) -> bool | None:
    """Whether every path of `route_path` matches `pattern`; `None` when only some do or it cannot be told."""
    if pattern == route_path or pattern == "/":
        return True
    if route_path.startswith("=") or not (
        route_path.startswith("~") or re.search(r"[{*]", route_path) or route_path == "/"
    ):
        return matches_path(pattern)(route_path.removeprefix("="))
    if pattern.startswith(("~", "=")) or "{" in pattern or not pattern.endswith("*"):
        return None
    wanted = pattern.removesuffix("*")
    literal = "" if route_path.startswith("~") else re.split(r"[{*]", route_path, maxsplit=1)[0]
    if literal.startswith(wanted) and wanted.endswith("/") and literal != wanted:
        return True
    if literal.startswith(wanted) or wanted.startswith(literal) or wanted.rstrip("/") == literal.rstrip("/"):
        return None
    return False


def normal_path(path: str) -> str:
    """The path with unreserved letters decoded and `.` and `..` resolved (RFC 3986 sections 6.2.2.2 and 5.2.4)."""
    decoded = _UNRESERVED.sub(_decode_unreserved, path)
    if "/." not in decoded:
        return decoded
    kept: list[str] = []
    segments = decoded.split("/")[1:]
    for position, segment in enumerate(segments):
        if segment == "..":
            del kept[-1:]
        if segment not in (".", ".."):
            kept.append(segment)
        elif position == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def _decode_unreserved(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if re.fullmatch(r"[A-Za-z0-9._~-]", character) else match[0].upper()


def _compiled(pattern: str) -> re.Pattern[str]:
    if pattern.startswith("~*"):
        return re.compile(pattern[2:], re.IGNORECASE)
    if pattern.startswith("~"):
        return re.compile(pattern[1:])
    if pattern.startswith("="):
        return re.compile(re.escape(pattern[1:]))
    if pattern == "/":
        return re.compile(r".*", re.DOTALL)
    text = ""
    end = 0
    for match in _PARAMETER.finditer(pattern):
        text += re.escape(pattern[end : match.start()]) + (".*" if match[2] else "[^/]+")
        end = match.end()
    rest = pattern[end:]
    if rest.endswith("/*"):
        return re.compile(text + re.escape(rest[:-2]) + "(?:/.*)?", re.DOTALL)
    if rest.endswith("*"):
        return re.compile(text + re.escape(rest[:-1]) + ".*", re.DOTALL)
    return re.compile(text + re.escape(rest))


def _check_regex(text: str) -> None:
    """Finds plain mistakes early; the engine, whose regular expressions know no look-around, has the last word."""
    try:
        re.compile(text)
    except re.error as error:
        raise ConfigError(f"`~{text}` is no regular expression: {error}") from None
    if re.search(r"\(\?(=|!|<=|<!)", text):
        raise ConfigError(
            f"`~{text}` looks around, which takes unbounded time", hint="say it with a `when` function"
        )
