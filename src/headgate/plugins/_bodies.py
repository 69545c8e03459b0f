"""Bodies as strict readers take them: media types, and JSON that every parser reads alike."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from headgate import Request
from headgate._digits import whole_number

from ._numbers import Approximate, Integer, Number, to_json

MEDIA_TYPE = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(.*)", re.DOTALL)
PARAMETER = re.compile(r";\s*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;\"]*))\s*)?")
STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
BRACKETS = re.compile(rb"[\[\]{}]")
SURROGATE = re.compile("[\ud800-\udfff]")


class BadBody(ValueError):
    """A body that is not read: its text tells the client why, `status` is that of the reply."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


def bound(size: int, most: int, text: str) -> None:
    """Raises `BadBody` where a size is above its bound."""
    if size > most:
        raise BadBody(text)


class MediaType(NamedTuple):
    """A Content-Type: `application/json` in lower case, and its parameters."""

    name: str
    parameters: dict[str, str]

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON."""
        return self.name.endswith(("/json", "+json"))

    @property
    def is_xml(self) -> bool:
        """Whether the body is XML."""
        return self.name.endswith(("/xml", "+xml"))


def media_type(request: Request) -> MediaType | None:
    """The type of the request's body, none if it says none; raises `BadBody` for one that could be read in two ways,
    and for text in another charset than UTF-8.
    """
    lines = request.headers.get_all("content-type")
    if not lines or lines == [""]:
        return None
    found = MEDIA_TYPE.fullmatch(lines[0])
    if len(lines) > 1 or found is None:
        raise BadBody("the Content-Type is not valid", 415)
    parameters: dict[str, str] = {}
    at, text = 0, found[2]
    while at < len(text):
        match = PARAMETER.match(text, at)
        if match is None:
            raise BadBody("the Content-Type is not valid", 415)
        at = match.end()
        if match[1] is not None:
            name = match[1].lower()
            if name in parameters:
                raise BadBody(f"the Content-Type says `{name}` twice")
            parameters[name] = match[2] if match[2] is not None else match[3]
    if parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise BadBody("the charset is not UTF-8", 415)
    return MediaType(found[1].lower(), parameters)


def told_length(headers: Any) -> int | None:
    """The Content-Length of a message, in bytes; None if it tells none."""
    told = headers.get("content-length")
    return None if told is None else whole_number(told)


def is_told_larger(headers: Any, most: int) -> bool:
    """Whether a message tells that its body is longer than that."""
    return (told_length(headers) or 0) > most


async def has_content(request: Request) -> bool:
    """Whether the request's body has any bytes; one of unknown length is awaited: its first bytes, or its end."""
    if not request.has_body or told_length(request.headers) is not None:
        return request.has_body
    async for chunk in request.stream():
        if chunk:
            return True
    return False


async def decoded(request: Request, most: int) -> bytes:
    """The whole body without its Content-Encoding, nothing if there is none; raises `BadBody` past `most` bytes,
    and for a coding that is not known, or not that of the body.
    """
    if is_told_larger(request.headers, most):
        raise BadBody("the body is too large", 413)
    try:
        body = await request.body(decode=True)
    except ValueError as error:
        if "when decoded" in str(error):
            raise BadBody("the body is too large", 413) from None
        raise BadBody("the body does not match its Content-Encoding, or that is not known", 415) from None
    if len(body) > most:
        raise BadBody("the body is too large", 413)
    return body


def parsed_json(body: bytes, *, depth: int = 64, keeps_numbers: bool = False, computes: bool = False) -> Any:
    """The value of a JSON text (RFC 8259); raises `BadBody` where parsers differ: other encodings than UTF-8, names
    twice in an object, NaN, numbers of many digits, lone surrogates, and more than `depth` levels. With `keeps_numbers`
    numbers know how they were written; with `computes` as well, they can be compared with floats.
    """
    numbers: dict[str, Any] = {"parse_int": _integer}
    if keeps_numbers:
        numbers = {
            "parse_int": lambda text: Integer(_bounded(text)),
            "parse_float": lambda text: (Approximate if computes else Number)(_bounded(text)),
        }
    check_depth(body, depth)
    try:
        text = body.decode()
        value = json.loads(text, object_pairs_hook=object_of, parse_constant=_constant, **numbers)
    except BadBody:
        raise
    except (ValueError, RecursionError):
        raise BadBody("the body is not valid JSON") from None
    if "\\u" in text and SURROGATE.search(to_json(value)):
        raise BadBody("the body has half a character")
    return value


def check_depth(body: bytes, most: int) -> None:
    """Refuses a JSON text with more levels, before anything recurses into it."""
    level = 0
    for bracket in BRACKETS.findall(STRING.sub(b"", body)):
        level += 1 if bracket in b"[{" else -1
        if level > most:
            raise BadBody("the body is nested too deep")


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of names that come once; raises `BadBody`."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise BadBody("the body has a name twice in an object")
    return made


def _constant(name: str) -> None:
    raise BadBody("the body is not valid JSON")


def _integer(text: str) -> int:
    return int(_bounded(text))


def _bounded(text: str) -> str:
    if len(text) > 400:
        raise BadBody("the body has a number that is too long")
    return text
