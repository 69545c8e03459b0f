"""Takes secrets out of what is written down of a request: by name, in every place where such a name can stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, unquote_plus

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


SECRET = re.compile(r"[^@\s]++@[^@\s]*\.[A-Za-z]{2,}(?:[.;].*)?|eyJ[\w-]++(?:\.[\w-]*+)++(?:;.*)?")
"""Segments of paths that are secrets wherever they stand: addresses of mail, and JWT, encrypted or not."""
USER = re.compile(r"//[^/?#]*@")
INNER = re.compile(r"[\[\].]+")
BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]+)"|([^\s;,"]+))', re.IGNORECASE)
HEAD_END = re.compile(r"(\r?\n\r?\n)")
PART_NAME = re.compile(r"""\bname\s*=\s*(?:"([^"\r\n]*)"|([^\s;"]+))""", re.IGNORECASE)


class Masking:
    """Masks by names of header fields, and of parameters and members; names are equal whatever their case."""

    def __init__(self, headers: Iterable[str], names: Iterable[str], paths: Iterable[str] = ()) -> None:
        self._headers = frozenset(name.lower() for name in headers)
        self._names = frozenset(name.lower() for name in names)
        self._paths = [path.strip("/").split("/") for path in paths]

    def header(self, name: str, value: str) -> str:
        """The value, or the mask."""
        return MASK if name.lower() in self._headers else value

    def parameter(self, name: str, value: str) -> str:
        """The value, or the mask."""
        return MASK if self._is_secret(name) else value

    def query(self, text: str) -> str:
        """A query, or the body of a form, as it is but for masked values."""
        return "&".join(map(self._pair, text.split("&")))

    def url(self, text: str) -> str:
        """A URL or a target, as it is but for its user, and what is masked of its path, its query and its fragment."""
        whole, hash, fragment = text.partition("#")
        path, mark, query = whole.partition("?")
        begin, more, rest = fragment.partition("?")
        shown = self.query(begin) + more + self.query(rest)
        return self._path(USER.sub(f"//{MASK}@", path)) + mark + self.query(query) + hash + shown

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

    def _path(self, text: str) -> str:
        """A path, with its scheme and host if it has these, masked by the patterns, and by what segments look like."""
        begin = text.partition("://")[2] and text.index("://") + 3
        begin = text.find("/", begin) if begin else 0
        if begin < 0 or "/" not in text:
            return text
        segments = text[begin:].split("/")
        plain = [unquote(one) for one in segments]
        shown = [MASK if SECRET.fullmatch(one) else self._pair(segments[n]) for n, one in enumerate(plain)]
        parts = _parts(plain)
        # with a host and no scheme, in a Location
        for given in (parts, parts[1:]) if text.startswith("//") else (parts,):
            for number in self._secrets(given):
                shown[number] = MASK
        return text[:begin] + "/".join(shown)

    def _secrets(self, parts: list[tuple[str, int]]) -> Iterator[int]:
        """Which segments of a path are secrets by the patterns."""
        for pattern in self._paths:
            if pattern[-1] == "*" and len(parts) >= len(pattern):
                pattern = [*pattern[:-1], *["{}"] * (len(parts) - len(pattern) + 1)]
            pairs = list(zip(pattern, parts, strict=False))
            if len(pattern) == len(parts) and all(
                one.startswith("{") or one == part.partition(";")[0] for one, (part, _) in pairs
            ):
                yield from (number for one, (_, number) in pairs if one.startswith("{"))

    def _is_secret(self, name: str) -> bool:
        """Whether it is such a name, or one in it: `user[password]`, `login.password`."""
        folded = name.lower()
        return folded in self._names or not self._names.isdisjoint(INNER.split(folded))

    def _pair(self, pair: str) -> str:
        """Some servers take `;` for `&`: from the first secret on nothing is left."""
        made = []
        for part in pair.split(";"):
            name, equals, _ = part.partition("=")
            is_secret = bool(equals) and self._is_secret(unquote_plus(name).strip())
            made.append(name + equals + MASK if is_secret else part)
            if is_secret:
                break
        return ";".join(made)

    def _part(self, text: str) -> str:
        head, gap, body = (*HEAD_END.split(text, 1), "", "")[:3]
        name = PART_NAME.search(head)
        if name and self._is_secret(name[1] if name[1] is not None else name[2]):
            return f"{head}{gap}{MASK}\r\n"
        return head + gap + self.json(body)


def _parts(segments: list[str]) -> list[tuple[str, int]]:
    """What servers may read as a path's segments (RFC 3986 section 5.2.4), with the numbers of those they are in."""
    made: list[tuple[str, int]] = []
    for number, segment in enumerate(segments):
        for part in segment.split("/"):
            if part == "..":
                del made[-1:]
            elif part not in ("", "."):
                made.append((part, number))
    return made


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
