"""Takes secrets out of what is written down of a request: by name, in every place where such a name can stand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

MASK = "***"
HEADERS = (
    *("authorization", "cookie", "proxy-authorization", "set-cookie", "www-authenticate", "x-api-key"),
    *("x-amz-security-token", "x-auth-token", "x-csrf-token", "x-webhook-signature"),
)
NAMES = (
    *(
        "access_token",
        "api_key",
        "apikey",
        "assertion",
        "auth",
        "client_secret",
        "code",
        "id_token",
        "key",
        "otp",
    ),
    *("passwd", "password", "pin", "refresh_token", "secret", "session", "sig", "signature", "token"),
)
"""Parameters and members whose values are secrets, unless the user says otherwise."""

STRING = r'"(?:[^"\\]|\\.)*+"?+'
"""One that does not end goes to the end of the text: each byte is looked at once."""
MEMBER = re.compile(rf'({STRING})(?:(\s*+:\s*+)({STRING}|[^\s,\]}}\[{{"]++|[\[{{])?+)?+', re.DOTALL)
"""A string and, if it is the name of a member, its colon and its value, or the bracket that begins it."""


class Masking:
    """Masks by names of header fields, and of parameters and members; names are equal whatever their case."""

    def __init__(self, headers: Iterable[str], names: Iterable[str]) -> None:
        self._headers = frozenset(name.lower() for name in headers)
        self._names = frozenset(name.lower() for name in names)

    def header(self, name: str, value: str) -> str:
        """The value, or the mask."""
        return MASK if name.lower() in self._headers else value

    def parameter(self, name: str, value: str) -> str:
        """The value, or the mask."""
        return MASK if name.lower() in self._names else value

    def query(self, text: str) -> str:
        """A query, or the body of a form, as it is but for masked values."""
        return "&".join(map(self._pair, text.split("&")))

    def url(self, text: str) -> str:
        """A URL or a target, as it is but for masked values of its query."""
        path, mark, query = text.partition("?")
        return path + mark + self.query(query)

    def json(self, text: str) -> str:
        """A text of JSON, as it is but for masked values; lists and objects behind such names are masked whole."""
        made, at = [], 0
        while found := MEMBER.search(text, at):
            is_secret = found[3] is not None and _unescaped(found[1].strip('"')).lower() in self._names
            made.append(text[at : found.start(3) if is_secret else found.end()])
            at = found.end()
            if is_secret:
                made.append(f'"{MASK}"')
                at = _end(text, found.start(3)) if found[3] in ("[", "{") else at
        return "".join(made) + text[at:]

    def _pair(self, pair: str) -> str:
        name, equals, value = pair.partition("=")
        return name + equals + self.parameter(unquote_plus(name), value) if equals else pair


def _unescaped(name: str) -> str:
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), name)


TOKEN = re.compile(rf"{STRING}|[\[\]{{}}]", re.DOTALL)


def _end(text: str, at: int) -> int:
    """Where the list or object ends that begins there."""
    level = 0
    for found in TOKEN.finditer(text, at):
        if found[0][0] == '"':
            continue
        level += 1 if found[0] in "[{" else -1
        if level == 0:
            return found.end()
    return len(text)
