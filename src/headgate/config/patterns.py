"""Patterns of hosts, paths and methods: refused here when no router could read them, matched where Python must."""

from __future__ import annotations

import re
from collections.abc import Callable

from .errors import ConfigError
from .field_names import TOKEN

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:path)?\}")
_RAW = re.compile(r"[A-Za-z0-9._~/:@!$&'()*+,;=-]*")
_NOT_RAW = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9._~/:@!$&'()*+,;=-]")

_PLAIN_HOST = re.compile(r"[A-Za-z0-9.-]+")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._~/-]*(?:\{[A-Za-z_][A-Za-z0-9_]*\}[A-Za-z0-9._~/-]*)?\*?")
"""What most hosts and paths are, and needs no closer look: there may be tens of thousands."""

_MAY_READ_OTHERWISE = re.compile(r";|//|%2[Ff]|%5[Cc]")

EVERY_PATH = ("/", "/*", "*")
"""The patterns that every path fits."""


def check_method(value: str) -> str:
    """A method as it is sent; letters are raised to capitals."""
    if not TOKEN.fullmatch(value):
        raise ConfigError(f"`{value}` is not a valid method", hint="write `GET`")
    return value.upper()


def check_host(value: str) -> str:
    """A host pattern: exact, `*.suffix`, `prefix.*`, `~regex` or `*`."""
    if _PLAIN_HOST.fullmatch(value):
        return value
    if value.startswith("~"):
        _check_regex(value[1:])
        return value
    if re.search(r"[\s/]", value) or not value:
        raise ConfigError(
            f"`{value}` is not a valid host", hint="write `example.com`, `*.example.com` or `~regex`"
        )
    if port := re.search(r":[0-9]*$", value):
        raise ConfigError(
            f"`{value}` has a port, which routes do not look at", hint=f"write `{value[: port.start()]}`"
        )
    stars = value.count("*")
    if stars > 1 or (stars and value != "*" and not value.startswith("*.") and not value.endswith(".*")):
        raise ConfigError(f"`{value}` has a misplaced `*`", hint="write `*.example.com` or `www.*`")
    return value


def check_path(value: str) -> str:
    """A path pattern: `/x`, `=/x`, `/x/*`, `/{name}/{rest:path}`, `~regex` or `~*regex`."""
    if _PLAIN_PATH.fullmatch(value):
        return value
    if value.startswith("~"):
        _check_regex(value.removeprefix("~").removeprefix("*"))
        return value
    if value in EVERY_PATH:
        return value
    literal = value.removeprefix("=")
    if not literal.startswith("/"):
        raise ConfigError(
            f"`{value}` is not a valid path pattern",
            hint=f"write `/{literal.lstrip('/')}`, or `~` and a regex",
        )
    if value.startswith("="):
        return value
    rest = _PARAMETER.sub("", literal)
    if "{" in rest or "}" in rest:
        raise ConfigError(f"`{value}` has a malformed parameter", hint="write `{name}` or `{name:path}`")
    if "*" in rest.removesuffix("*"):
        raise ConfigError(
            f"`{value}` has a misplaced `*`", hint="`*` must come last; `{name}` is one segment"
        )
    names = [match[1] for match in _PARAMETER.finditer(literal)]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"`{value}` has the duplicate parameter `{doubled}`")
    return value


def parameters(pattern: str) -> tuple[str, ...]:
    """The names of the parameters that a path pattern takes out of a path."""
    if pattern.startswith("~"):
        return tuple(re.findall(r"\(\?P?<([A-Za-z_]\w*)>", pattern))
    return () if pattern.startswith("=") else tuple(match[1] for match in _PARAMETER.finditer(pattern))


def matches_path(pattern: str) -> Callable[[str], bool]:
    """A function that says whether a path, in the spelling that routers match, fits `pattern`."""
    if pattern in EVERY_PATH:
        return lambda path: True
    compiled = _compiled(pattern)
    fits = compiled.search if pattern.startswith("~") else compiled.fullmatch
    return lambda path: fits(normal_path(path)) is not None


def same_paths(pattern: str) -> str:
    """A spelling that patterns share which every path fits alike: `/users/{id}` and `/users/{name}`, `/x` and `=/x`."""
    if pattern in EVERY_PATH:
        return "/*"
    if pattern.startswith("~"):
        return pattern
    if pattern.startswith("="):
        return normal_path(pattern[1:])
    if "{" in pattern:
        return _PARAMETER.sub(lambda found: f"{{{found[2] or ''}}}", pattern)
    return pattern if pattern.endswith("*") else normal_path(pattern)


def covers(pattern: str, route_path: str) -> bool | None:
    """Whether every path of the route fits `pattern`; `None` when only some do, or it cannot be told."""
    if pattern == route_path or pattern in EVERY_PATH:
        return True
    if _is_exact(route_path):
        return matches_path(pattern)(route_path.removeprefix("="))
    if _is_exact(pattern) or pattern.startswith("~") or "{" in pattern:
        return None
    # What is left is a prefix, `/api/*` as `/api/` or `/img*`, against the literal beginning of the route's paths.
    wanted = _respelled(pattern.removesuffix("*"))
    begins = "" if route_path.startswith("~") else _respelled(re.split(r"[{*]", route_path, maxsplit=1)[0])
    if begins.startswith(wanted):
        return True
    return None if wanted.startswith(begins) else False


def normal_path(path: str) -> str:
    """The spelling that routers match: escapes of unreserved characters decoded, others in capitals, what must not
    stand raw escaped, `.` and `..` resolved (RFC 3986 sections 5.2.4 and 6.2.2).
    """
    spelled = path if _RAW.fullmatch(path) else _respelled(path)
    if "/." not in spelled:
        return spelled
    kept: list[str] = []
    segments = spelled.split("/")[1:]
    for position, segment in enumerate(segments):
        if segment == "..":
            del kept[-1:]
        if segment not in (".", ".."):
            kept.append(segment)
        elif position == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def other_readings(path: str) -> tuple[str, ...]:
    """The other paths that servers may read in a path; mostly none.

    Some servers decode `%2F`, cut off `;parameters`, merge `//`, or take what follows a leading `//` for a host.
    """
    if not _MAY_READ_OTHERWISE.search(path):
        return ()
    readings = [_read_leniently(path)]
    if path.startswith("//"):
        readings.append(_read_leniently("/" + path[2:].partition("/")[2]))
    return tuple(reading for reading in readings if reading != path)


def _read_leniently(path: str) -> str:
    segments = re.split(r"/|%2[Ff]|%5[Cc]", path)
    return re.sub("/+", "/", "/".join(segment.partition(";")[0] for segment in segments))


def _is_exact(pattern: str) -> bool:
    return pattern.startswith("=") or not (
        pattern in EVERY_PATH or pattern.startswith("~") or "{" in pattern or pattern.endswith("*")
    )


def _respelled(text: str) -> str:
    return _NOT_RAW.sub(_spell, text)


def _spell(match: re.Match[str]) -> str:
    text = match[0]
    if len(text) > 1:
        character = chr(int(text[1:], 16))
        return character if re.fullmatch(r"[A-Za-z0-9._~-]", character) else text.upper()
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def _compiled(pattern: str) -> re.Pattern[str]:
    if pattern.startswith("~*"):
        return re.compile(_python_groups(pattern[2:]), re.IGNORECASE)
    if pattern.startswith("~"):
        return re.compile(_python_groups(pattern[1:]))
    if pattern.startswith("="):
        return re.compile(_literal(pattern[1:]))
    text, end = "", 0
    for match in _PARAMETER.finditer(pattern):
        before = pattern[end : match.start()]
        end = match.end()
        if match[2]:
            # `/files/{rest:path}` is `/files` too, as `/files/*` is.
            return re.compile(f"{text}{_literal(before.removesuffix('/'))}(?:/.*)?", re.DOTALL)
        text += f"{_literal(before)}[^/]+"
    rest = pattern[end:]
    if rest.endswith("/*"):
        return re.compile(f"{text}{_literal(rest[:-2])}(?:/.*)?", re.DOTALL)
    if rest.endswith("*"):
        return re.compile(f"{text}{_literal(rest[:-1])}.*", re.DOTALL)
    return re.compile(text + _literal(rest))


def _literal(text: str) -> str:
    return re.escape(_respelled(text))


def _python_groups(text: str) -> str:
    """The engine also knows `(?<name>...)`, which Python spells `(?P<name>...)`."""
    return re.sub(r"\(\?<(?![=!])", "(?P<", text)


def _check_regex(text: str) -> None:
    """Finds plain mistakes early; the engine, whose regular expressions know no look-around, has the last word."""
    if re.search(r"\(\?(=|!|<=|<!)", text):
        raise ConfigError(
            f"`~{text}` uses look-around, which takes unbounded time", hint="use a `when` function"
        )
    try:
        re.compile(_python_groups(text))
    except re.error as error:
        raise ConfigError(
            f"`~{text}` is not a valid regular expression: {error}",
            hint="put `\\` before literal characters, such as `\\.`, or leave out the `~`",
        ) from None
