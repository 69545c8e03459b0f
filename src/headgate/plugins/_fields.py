"""Edits of header fields: what plugins that change messages have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator

from headgate import ConfigError, Expression, Pattern
from headgate.native import EditFields, Part, can_set

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no value of a field has (RFC 9110 section 5.5)."""
READ_ONLY = frozenset(("host", "content-length", "upgrade"))
"""Fields that hooks can read, and that are not fields like others."""
PARTS = {
    "request.client.address": "address",
    "request.method": "method",
    "request.scheme": "scheme",
}
"""Expressions that are parts of the request."""
FRAMING = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


def check_name(name: str) -> None:
    """Raises `ConfigError` for what is no field that a plugin can set."""
    check_token(name)
    if name.lower() in FRAMING:
        raise ConfigError(f"`{name}` frames the message", hint="the gateway writes it")


def check_token(name: str) -> str:
    """The name of a field (RFC 9110 section 5.1); raises `ConfigError` for what no field can have."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"`{name}` is not a valid header field name", hint="a name has no spaces: `x-a`")
    return name


def check_value(name: str, value: str) -> None:
    """Raises `ConfigError` for what no field can have as its value."""
    if CONTROL.search(value):
        raise ConfigError(f"the value of `{name}` has a control character", hint="encode it first")


def _name(name: str) -> str:
    check_name(name)
    return name


def _text(value: str) -> str:
    if CONTROL.search(value):
        raise ConfigError("a field's value has a control character", hint="write it on one line")
    return value


def _secret(secret: SecretStr) -> SecretStr:
    if CONTROL.search(secret.get_secret_value()):
        raise ConfigError(
            "the secret has a control character", hint="is there an end of line where it comes from?"
        )
    return secret


FieldName = Annotated[str, AfterValidator(_name)]
"""The name of a field that is written."""
ReadName = Annotated[str, AfterValidator(check_token)]
"""The name of a field that is only read or removed; `*` may stand in it."""
FieldText = Annotated[str, AfterValidator(_text)]
"""The value of a field."""
FieldSecret = Annotated[SecretStr, AfterValidator(_secret)]
"""A secret that is the value of a field."""


class Map(BaseModel):
    """A value that is made of another one by a pattern."""

    model_config = ConfigDict(extra="forbid")

    header: ReadName = Field(description="The field that is read.")
    pattern: str = Field(description="What is replaced in its value, in the syntax of RE2.")
    by: str = Field(description="What stands there then; `\\1` to `\\9` are what the groups matched.")
    to: str | None = Field(default=None, description="The field that is set; null is the same one.")


class Edits(BaseModel):
    """Changes of header fields, done in this order: remove, rename, map, set, add, default."""

    model_config = ConfigDict(extra="forbid")

    remove: list[ReadName] = Field(
        default=[], description="Fields that go; `x-debug-*` is all that begin so."
    )
    rename: dict[FieldName, FieldName] = Field(default={}, description="Fields and their new names.")
    map: list[Map] = Field(default=[], description="Values that are made of others by patterns.")
    set: dict[str, str] = Field(
        default={}, description="Fields that are set; a value that begins with `=` is an expression."
    )
    add: dict[str, str] = Field(default={}, description="Fields that are added to those of the same name.")
    default: dict[str, str] = Field(default={}, description="Fields that are set if they are absent.")

    @field_validator("set", "add", "default")
    @classmethod
    def _names(cls, fields: dict[str, str]) -> dict[str, str]:
        for name, value in fields.items():
            check_name(name)
            if value.startswith("="):
                Expression(value[1:])
            else:
                check_value(name, value)
        return fields

    @field_validator("map")
    @classmethod
    def _patterns(cls, maps: list[Map]) -> list[Map]:
        for one in maps:
            check_name(one.to or one.header)
            Pattern(one.pattern)
        return maps


Value = Callable[[Any, Any], str]


class Editor:
    """Does the edits to the fields of a message."""

    def __init__(self, edits: Edits) -> None:
        self._edits = edits
        names = [name.lower() for name in edits.remove]
        self._remove = [name for name in names if not name.endswith("*")]
        self._prefixes = tuple(name[:-1] for name in names if name.endswith("*"))
        self._rename = list(edits.rename.items())
        self._map = [(one.header, Pattern(one.pattern), one.by, one.to or one.header) for one in edits.map]
        self._set = [(name, _value(value)) for name, value in edits.set.items()]
        self._add = [(name, _value(value)) for name, value in edits.add.items()]
        self._default = [(name, _value(value)) for name, value in edits.default.items()]

    def native(self) -> list[EditFields] | None:
        """The same as actions; None where only `edit` can do it."""
        edits = self._edits
        names = {*edits.remove, *edits.rename, *edits.rename.values(), *edits.set, *edits.add, *edits.default}
        if edits.map or {name.lower() for name in names} & READ_ONLY:
            return None
        valued = [
            {name: _part(value) for name, value in values.items()}
            for values in (edits.set, edits.add, edits.default)
        ]
        if any(value is None for values in valued for value in values.values()):
            return None
        texts = [pair for values in (edits.set, edits.add, edits.default) for pair in values.items()]
        texts += [(new, "") for new in edits.rename.values()]
        if not all(can_set(name, "" if value.startswith("=") else value) for name, value in texts):
            return None
        put, add, default = cast(list[dict[str, str | Part]], valued)
        return [EditFields(edits.remove, edits.rename, put, add, default)]

    def edit(self, headers: Any, request: Any, response: Any = None) -> None:
        """Does them; values that are expressions see the request, and the response where there is one.

        Control characters in what an expression says, such as the decoded `%0d` of a query, are encoded: `%0D`.
        """
        fields = cast(MutableMapping[str, str], headers)
        for name in self._remove:
            if name in fields:
                del fields[name]
        if self._prefixes:
            for name in {name for name in headers if name.startswith(self._prefixes)}:
                del fields[name]
        for old, new in self._rename:
            values = headers.get_all(old)
            if values:
                del fields[old]
                for value in values:
                    headers.add(new, value)
        for header, pattern, by, to in self._map:
            found = headers.get(header)
            if found is not None:
                fields[to] = pattern.replace(found, by)
        for name, made in self._set:
            fields[name] = made(request, response)
        for name, made in self._add:
            headers.add(name, made(request, response))
        for name, made in self._default:
            if name not in fields:
                fields[name] = made(request, response)


def _value(text: str) -> Value:
    if not text.startswith("="):
        return lambda request, response: text
    expression = Expression(text[1:])
    return lambda request, response: CONTROL.sub(_encoded, str(expression(request, response)))


def _part(text: str) -> str | Part | None:
    """A value as actions know it."""
    if not text.startswith("="):
        return text
    name = PARTS.get(text[1:].strip())
    return None if name is None else Part(name)


def _encoded(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"
