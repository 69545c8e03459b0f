"""Formats of bodies beside JSON and XML: CSV, YAML, MessagePack and forms, read strictly and written safely.

What readers of a format take differently is refused: anchors, tags and merged keys of YAML, which is read by its
version 1.2, rows of CSV of another length than the first, binary parts and extensions of MessagePack.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote_plus

import yaml

from headgate import ConfigError

from ._bodies import BadBody, object_of, parsed_json
from ._numbers import Integer, Number, to_json

MOST_YAML_BYTES = 65_536
"""A worker reads nothing else meanwhile, and YAML is read more slowly than anything else here."""
MOST_CELLS = 200_000
WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,399})")
DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,199})(?:\.[0-9]{1,199})?(?:[eE][+-]?[0-9]{1,9})?")
WORDS: dict[str, bool | None] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)


def parsed_form(text: str, lists: list[str]) -> dict[str, Any]:
    """A form; those in `lists` are lists of values, others come once. Raises `ValueError`."""
    made: dict[str, Any] = {name: [] for name in lists}
    for name, value in parse_qsl(
        text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=1000
    ):
        if name in lists:
            made[name].append(value)
        elif name in made:
            raise BadBody(f"the form has `{name[:100]}` twice")
        else:
            made[name] = value
    return made


def parsed_csv(text: str) -> list[dict[str, str]]:
    """Rows by the names in the first (RFC 4180); raises `BadBody`."""
    try:
        rows = iter(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True))
        names = next(rows, [])
        if len(set(names)) != len(names):
            raise BadBody("the body has a column twice")
        made: list[dict[str, str]] = []
        for row in rows:
            if row and len(row) != len(names):
                raise BadBody(f"row {len(made) + 1} has another length than the names of the columns")
            if (len(made) + 1) * len(names) > MOST_CELLS:
                raise BadBody("the body has too many cells", 413)
            if row:
                made.append(dict(zip(names, row, strict=True)))
    except csv.Error:
        raise BadBody("the body is not valid CSV") from None
    return made


def parsed_yaml(text: str, *, depth: int) -> Any:
    """The value of the only document, numbers as they were written; raises `BadBody`."""
    if len(text) > MOST_YAML_BYTES:
        raise BadBody("the body is too large for YAML", 413)
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        events = iter(yaml.parse(text, Loader=loader))
        next(events)
        if isinstance(next(events), yaml.StreamEndEvent):
            return None
        value = _value(next(events), events, depth)
        next(events)
        if not isinstance(next(events), yaml.StreamEndEvent):
            raise BadBody("the body has several documents")
    except yaml.YAMLError:
        raise BadBody("the body is not valid YAML") from None
    return value


def _value(event: Any, events: Iterator[Any], left: int) -> Any:
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None or event.tag is not None:
        raise BadBody("the body has anchors, aliases or tags of YAML")
    if left < 0:
        raise BadBody("the body is nested too deep")
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event.value) if event.implicit[0] else event.value
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_value(event, events, left - 1))
        return items
    pairs = []
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        if not isinstance(event, yaml.ScalarEvent) or event.value == "<<" or event.anchor or event.tag:
            raise BadBody("the body has a key that is not a text")
        pairs.append((event.value, _value(next(events), events, left - 1)))
    return object_of(pairs)


def _scalar(text: str) -> Any:
    if text in WORDS:
        return WORDS[text]
    if WHOLE.fullmatch(text):
        return Integer(text)
    return Number(text) if DECIMAL.fullmatch(text) else text


def msgpack() -> Any:
    """The library; raises `ConfigError` without it."""
    try:
        return importlib.import_module("msgpack")
    except ImportError:
        raise ConfigError(
            "MessagePack needs the library `msgpack`", hint="pip install 'headgate[plugins]'"
        ) from None


def parsed_msgpack(body: bytes, *, depth: int) -> Any:
    """The value; raises `BadBody`."""
    try:
        value = msgpack().unpackb(
            body, raw=False, strict_map_key=True, object_pairs_hook=_text_keys, ext_hook=_refuse
        )
        # what JSON cannot say, such as bytes, is refused, and so are other limits of it
        return parsed_json(to_json(value).encode(), depth=depth, keeps_numbers=True)
    except BadBody:
        raise
    except (ValueError, TypeError, RecursionError):
        raise BadBody("the body is not valid MessagePack, or not such as JSON can say") from None


def made_msgpack(text: str) -> bytes:
    """A JSON text as MessagePack; raises `ValueError`."""
    try:
        made: bytes = msgpack().packb(json.loads(text))
    except OverflowError as error:
        raise ValueError(str(error)) from None
    return made


def _text_keys(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    if not all(isinstance(key, str) for key, _ in pairs):
        raise BadBody("the body has a key that is not a text")
    return object_of(pairs)


def _refuse(code: int, data: bytes) -> None:
    raise BadBody("the body has extensions of MessagePack")


def in_csv(value: Any) -> str:
    """A cell."""
    text = "" if value is None else str(value)
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if re.search(r'[",\r\n]|^\s|\s$', text) else text


def in_form(value: Any) -> str:
    """A name or a value."""
    return quote_plus("" if value is None else str(value))


def in_yaml(value: Any) -> str:
    """A whole value, with its quotes."""
    return to_json(
        value if value is None or isinstance(value, bool | int | float | Number | dict | list) else str(value)
    )
