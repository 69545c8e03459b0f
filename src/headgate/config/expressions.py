"""Expressions in settings: a part of the Common Expression Language (cel.dev), checked and compiled when loaded.

How it works: a parser by recursive descent gives each part a type and writes the Python for it, from the tables of
`expression_names` and from literals only, so that nothing of the text itself is ever run. Python compiles the whole to
one function: a comparison costs what it costs in Python. Libraries for the language build a context of copies for each
evaluation, which takes longer than whole plugins may.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .errors import ConfigError, suggestion
from .expression_hosts import HOST, compared_host, hosts, normal_host, sent_host
from .expression_names import FUNCTIONS, METHODS, OBJECTS, Call, Kind
from .regex import Pattern

MAX_CHARACTERS = 4096
EXAMPLE = 'write `request.method == "POST" && request.path.startsWith("/a/")` or the like'
MAX_TOKENS = 800
MAX_DEPTH = 40

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+)|(?P<name>[A-Za-z_]\w*)|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<sign>&&|\|\||[=!<>]=|[-+*/%!<>()\[\].,?:]))"""
)
_ESCAPE = re.compile(r"\\(.)")
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "in")


class Expression:
    """A condition such as `request.method == "POST" && request.headers["x-a"].startsWith("b")`.

    Called with a request, and a response where there is one, it gives the value. A field that is absent is an empty
    text; `"x-a" in request.headers` tells whether it is there. In conditions `request.host` is as routes compare it.
    Raises `ConfigError` for a text that is not valid.
    """

    __slots__ = ("_function", "kind", "names_consumer", "names_response", "text")

    def __init__(self, text: str) -> None:
        parser = _Parser(text)
        source, self.kind = parser.whole()
        self.text = text
        self.names_response = "response" in parser.named
        self.names_consumer = "consumer" in parser.named
        code = compile(f"lambda request, response=None: {source}", "<expression>", "eval")
        names = {"host_of": compared_host if self.kind == "truth" else sent_host, "hosts_of": hosts}
        self._function: Callable[..., Any] = eval(
            code, {"__builtins__": _BUILTINS, **names, **parser.constants}
        )

    def __call__(self, request: Any, response: Any = None) -> Any:
        """The value; raises `ValueError` where a text is not the number it is taken for."""
        return self._function(request, response)

    @property
    def function(self) -> Callable[..., Any]:
        """What calling it calls."""
        return self._function

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def check_condition(text: str) -> str:
    """The text, if it is an expression that says yes or no."""
    if Expression(text).kind != "truth":
        raise ConfigError(
            f"`{text}` is neither true nor false", hint='compare it, as in `request.method == "GET"`'
        )
    return text


_BUILTINS = {"len": len, "int": int, "str": str, "getattr": getattr, "__import__": __import__}
"""The last one is for what is read: a library that is loaded late is imported with the builtins of who reads."""

_OF_PYTHON = {"not": "!", "and": "&&", "or": "||", "True": "true", "False": "false"}
"""Words of Python, and what stands for them here."""


class _Part(NamedTuple):
    source: str
    kind: Kind
    literal: Any = None
    """The value of a literal."""


class _Parser:
    def __init__(self, text: str) -> None:
        self.named: set[str] = set()
        self.constants: dict[str, Any] = {}
        self._text = text
        self._tokens = self._read(text)
        self._at = 0
        self._depth = 0

    def whole(self) -> tuple[str, Kind]:
        part = self._choice()
        if self._at < len(self._tokens):
            found = self._tokens[self._at][1]
            raise self._wrong(f"`{found}` is not expected", _in_place_of(found))
        if part.kind in ("fields", "object"):
            raise self._wrong("a value is missing", 'name a field, as in `headers["x-a"]`')
        return part.source, part.kind

    # ---- tokens

    def _read(self, text: str) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        end, length = 0, len(text.rstrip())
        if len(text) > MAX_CHARACTERS:
            raise ConfigError(
                f"an expression must have at most {MAX_CHARACTERS} characters, not {len(text)}",
                hint="decide in a hook of your own",
            )
        while end < length:
            match = _TOKEN.match(text, end)
            if match is None or len(tokens) == MAX_TOKENS:
                why = f"`{text[end:].strip()[:20]}` cannot be read" if match is None else "it is too long"
                raise self._wrong(why)
            tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            end = match.end()
        return tokens

    def _peek(self) -> str:
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        return "" if kind == "text" else text

    def _take(self, *signs: str) -> str:
        found = self._peek()
        if found and found in signs:
            self._at += 1
            return found
        return ""

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise self._wrong(f"`{sign}` is missing" + (f" before `{self._peek()}`" if self._peek() else ""))

    def _wrong(self, why: str, hint: str | None = None) -> ConfigError:
        shown = self._text if len(self._text) <= 80 else f"{self._text[:77]}..."
        return ConfigError(f"the expression `{shown}` is not valid: {why}", hint=hint or EXAMPLE)

    # ---- grammar

    def _choice(self) -> _Part:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong("it is nested too deep")
        condition = self._any()
        if self._take("?"):
            self._want(condition, "truth")
            yes = self._choice()
            self._expect(":")
            no = self._want(self._choice(), yes.kind)
            condition = _Part(f"({yes.source} if {condition.source} else {no.source})", yes.kind)
        self._depth -= 1
        return condition

    def _any(self) -> _Part:
        return self._joined("||", "or", self._all)

    def _all(self) -> _Part:
        return self._joined("&&", "and", self._comparison)

    def _joined(self, sign: str, word: str, inner: Callable[[], _Part]) -> _Part:
        parts = [inner()]
        while self._take(sign):
            parts.append(inner())
        if len(parts) == 1:
            return parts[0]
        return _Part(f"({f' {word} '.join(self._want(part, 'truth').source for part in parts)})", "truth")

    def _comparison(self) -> _Part:
        left = self._sum()
        sign = self._take(*_COMPARISONS)
        if not sign:
            return left
        right = self._sum()
        if sign == "in":
            if right.kind not in ("list", "fields"):
                raise self._wrong("`in` wants a list or fields on its right")
            self._want(left, "text" if right.kind == "fields" else left.kind)
            if left.source == HOST and right.literal is not None:
                return self._of_host(right.literal)
            return _Part(f"({left.source} in {right.source})", "truth")
        self._want(right, left.kind)
        if left.kind not in ("text", "number", "truth"):
            raise self._wrong(f"{left.kind} cannot be compared")
        if HOST in (left.source, right.source) and sign in ("==", "!="):
            text = right.literal if left.source == HOST else left.literal
            if text is not None:
                found = self._of_host((text,))
                return found if sign == "==" else _Part(f"(not {found.source})", "truth")
        return _Part(f"({left.source} {sign} {right.source})", "truth")

    def _of_host(self, texts: Iterable[str]) -> _Part:
        """Whether the host is one of these: any port, unless a text has one."""
        wanted = self._constant(frozenset(normal_host(text) for text in texts))
        return _Part(f"(not {wanted}.isdisjoint(hosts_of(request)))", "truth")

    def _sum(self) -> _Part:
        return self._computed(("+", "-"), self._product)

    def _product(self) -> _Part:
        return self._computed(("*", "/", "%"), self._signed)

    def _computed(self, signs: tuple[str, ...], inner: Callable[[], _Part]) -> _Part:
        first = inner()
        source = first.source
        while sign := self._take(*signs):
            if first.kind not in (("text", "number") if sign == "+" else ("number",)):
                raise self._wrong(f"`{sign}` is for numbers", "`int(...)` makes a text a number")
            source += f" {'//' if sign == '/' else sign} {self._want(inner(), first.kind).source}"
        return first if source == first.source else _Part(f"({source})", first.kind)

    def _signed(self) -> _Part:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong("it is nested too deep")
        if self._take("!"):
            part = _Part(f"(not {self._want(self._signed(), 'truth').source})", "truth")
        elif self._take("-"):
            part = _Part(f"(-{self._want(self._signed(), 'number').source})", "number")
        else:
            part = self._with_members(self._first())
        self._depth -= 1
        return part

    def _with_members(self, part: _Part) -> _Part:
        while sign := self._take(".", "["):
            if sign == "[":
                name = self._want(self._choice(), "text")
                self._expect("]")
                if part.kind != "fields":
                    is_query = part.source == "request.query"
                    known = "request.query_params" if is_query else "request.headers"
                    raise self._wrong("`[...]` is for fields", f'such as `{known}["x-a"]`')
                part = _Part(f"({part.source}.get({name.source}) or '')", "text")
                continue
            name_kind, name_text = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
            if name_kind != "name":
                raise self._wrong("a name is missing after `.`")
            self._at += 1
            part = self._method(part, name_text) if self._take("(") else self._member(part, name_text)
        return part

    def _member(self, part: _Part, name: str) -> _Part:
        if part.kind != "object":
            hint = f'write `["{name}"]`' if part.kind == "fields" else None
            raise self._wrong(f"`{name}` is not a member", hint)
        known = OBJECTS[part.source]
        if name not in known:
            raise self._wrong(f"`{part.source}` has no `{name}`", suggestion(name, known))
        self.named.add(name)
        return _Part(known[name].source, known[name].kind)

    def _method(self, part: _Part, name: str) -> _Part:
        arguments = self._arguments(")")
        if name == "matches":
            pattern = Pattern(self._literal(part, arguments, name))
            return _Part(f"{self._constant(pattern)}.search({part.source})", "truth")
        if name == "inNetwork":
            network = _network(self._literal(part, arguments, name))
            return _Part(f"{self._constant(network)}({part.source})", "truth")
        if name not in METHODS:
            known = (*METHODS, "matches", "inNetwork")
            raise self._wrong(f"there is no method `{name}`", suggestion(name, known))
        return self._call(name, METHODS[name], [part, *arguments])

    def _literal(self, part: _Part, arguments: list[_Part], name: str) -> str:
        self._want(part, "text")
        if len(arguments) != 1 or not isinstance(arguments[0].literal, str):
            raise self._wrong(f'`{name}` wants one text in quotes, as in `{name}("...")`')
        return arguments[0].literal

    def _call(self, name: str, call: Call, arguments: list[_Part]) -> _Part:
        if len(arguments) != len(call.takes):
            raise self._wrong(f"`{name}` takes {len(call.takes)} arguments, not {len(arguments)}")
        sources = [self._want(part, kind).source for part, kind in zip(arguments, call.takes, strict=True)]
        return _Part(call.source.format(*sources), call.kind)

    def _arguments(self, end: str) -> list[_Part]:
        found: list[_Part] = []
        while not self._take(end):
            if found:
                self._expect(",")
            found.append(self._choice())
        return found

    def _first(self) -> _Part:
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        self._at += 1
        if kind == "number":
            return _Part(str(int(text[:18])), "number", int(text[:18]))
        if kind == "text":
            value = _ESCAPE.sub(lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), text[1:-1])
            return _Part(repr(value), "text", value)
        if text in ("true", "false"):
            return _Part(text.capitalize(), "truth", text == "true")
        if text == "(":
            inner = self._choice()
            self._expect(")")
            return inner
        if text == "[":
            return self._list(self._arguments("]"))
        if kind == "name":
            return self._named(text)
        raise self._wrong(f"a value is missing before `{text}`" if text else "it ends too early")

    def _named(self, name: str) -> _Part:
        if self._take("("):
            if name not in FUNCTIONS:
                raise self._wrong(f"there is no function `{name}`", suggestion(name, FUNCTIONS))
            return self._call(name, FUNCTIONS[name], self._arguments(")"))
        if name not in ("request", "response"):
            known = ("request", "response")
            hint = f"write `request.{name}`" if name in OBJECTS["request"] else _in_place_of(name)
            hint = hint or suggestion(name, known)
            raise self._wrong(f"there is no `{name}`", hint)
        self.named.add(name)
        return _Part(name, "object")

    def _list(self, parts: list[_Part]) -> _Part:
        for part in parts:
            self._want(part, parts[0].kind)
        if all(part.literal is not None for part in parts):
            literals = frozenset(part.literal for part in parts)
            return _Part(self._constant(literals), "list", literals)
        return _Part(f"({', '.join(part.source for part in parts)},)", "list")

    def _constant(self, value: Any) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = value
        return name

    def _want(self, part: _Part, kind: Kind) -> _Part:
        if part.kind != kind:
            hint = {"number": "`int(...)` makes a text a number", "text": "put a text in quotes"}.get(kind)
            raise self._wrong(f"a {kind} is wanted, where a {part.kind} stands", hint)
        return part


def _in_place_of(word: str) -> str | None:
    return f"write `{_OF_PYTHON[word]}`" if word in _OF_PYTHON else None


def _network(text: str) -> Callable[[str], bool]:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ConfigError(
            f"`{text}` is not a valid network", hint="write `10.0.0.0/8` or `2001:db8::/32`"
        ) from None

    @functools.lru_cache(4096)
    def contains(address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False  # a Unix socket
        inner = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
        return (inner or parsed) in network

    return contains
