"""Takes secrets out of what is written down of a request: by name, in every place where such a name can stand."""

from __future__ import annotations

import re
from collections.abc import Iterable

from headgate import TargetMask

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


BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]+)"|([^\s;,"]+))', re.IGNORECASE)
HEAD_END = re.compile(r"(\r?\n\r?\n)")
PART_NAME = re.compile(r"""\bname\s*=\s*(?:"([^"\r\n]*)"|([^\s;"]+))""", re.IGNORECASE)


class Masking:
    """Masks by names of header fields, and of parameters and members; names are equal whatever their case."""

    def __init__(self, headers: Iterable[str], names: Iterable[str], paths: Iterable[str] = ()) -> None:
        self._headers = frozenset(name.lower() for name in headers)
        mask = TargetMask(tuple(names), tuple(paths), looks=True)
        self.url, self.query, self._is_secret = mask.url, mask.query, mask.has_name

    def header(self, name: str, value: str) -> str:
        """The value, or the mask."""
        return MASK if name.lower() in self._headers else value

    def multipart(self, text: str, kind: str) -> str:
        """The body of a form in parts (RFC 7578), as it is but for the masked parts; `kind` is its Content-Type."""
        found = BOUNDARY.search(kind)
        if found is None:
            return MASK
        line = f"--{found[1] or found[2]}"
        return line.join(map(self._part, text.split(line)))

    def json(self, text: str) -> str:
        """A text of JSON, as it is but for masked values; lists and objects behind such names are masked whole."""
        made, at = [], 0
        while found := MEMBER.search(text, at):
            is_secret = found[3] is not None and self._is_secret(_unescaped(found[1].strip('"')))
            made.append(text[at : found.start(3) if is_secret else found.end()])
            at = found.end()
            if is_secret:
                made.append(f'"{MASK}"')
                at = _end(text, found.start(3)) if found[3] in ("[", "{") else at
        return "".join(made) + text[at:]

    def _part(self, text: str) -> str:
        head, gap, body = (*HEAD_END.split(text, 1), "", "")[:3]
        name = PART_NAME.search(head)
        if name and self._is_secret(name[1] if name[1] is not None else name[2]):
            return f"{head}{gap}{MASK}\r\n"
        return head + gap + self.json(body)


def _unescaped(name: str) -> str:
    plain = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), name)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


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
