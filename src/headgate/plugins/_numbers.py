"""Numbers that stay as they were written, and JSON that is made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


class Integer(int):
    """A whole number with its text."""

    text: str

    def __new__(cls, text: str) -> Integer:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text


class Number(Decimal):
    """A number with its text: `1.10` and `1e400` stay what they are."""

    text: str

    def __new__(cls, text: str) -> Number:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text


class Approximate(float):
    """A number with its text, for libraries that compare with floats: `1.10` is equal to `1.1`."""

    text: str

    def __new__(cls, text: str) -> Approximate:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text


def to_json(value: Any) -> str:
    """A value as JSON, numbers as they were written; raises `TypeError` for what JSON cannot say."""
    if isinstance(value, Integer | Number | Approximate):
        return value.text
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise TypeError(f"`{value}` is not a valid JSON number")
        return str(value)
    if isinstance(value, Mapping):
        return (
            "{"
            + ",".join(
                f"{json.dumps(str(key), ensure_ascii=False)}:{to_json(one)}" for key, one in value.items()
            )
            + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(to_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
