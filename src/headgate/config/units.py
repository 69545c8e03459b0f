"""Sizes such as `16m` and durations such as `500ms`: text or numbers in, bytes and seconds out."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from .errors import ConfigError

_SIZE = re.compile(r"([0-9]+)\s*([kmg]?)(?:i?b)?", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d|)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
_LONGEST = 10 * 365 * 86400.0
_LARGEST = (1 << 63) - 1

MAX_COUNT = (1 << 32) - 1
"""The most that a setting can count: the engine has 32 bits for it."""


def parse_size(value: Any) -> int:
    """Bytes from `65536`, `"64k"`, `"16m"` or `"1g"`; the units are powers of 1024, as in nginx."""
    size = -1
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and len(value) < 40 and (match := _SIZE.fullmatch(value.strip())):
        size = int(match[1]) * _SIZE_UNITS[match[2].lower()]
    if not 0 <= size <= _LARGEST:
        raise ConfigError(f"`{value}` is not a size", hint="write bytes, or a number with k, m or g: `64k`")
    return size


def parse_duration(value: Any) -> float:
    """Seconds from `5`, `0.5`, `"500ms"`, `"5s"`, `"1m"`, `"2h"` or `"1d"`."""
    seconds = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        seconds = float(match[1]) * _SECONDS[match[2].lower()]
    if not (math.isfinite(seconds) and 0 <= seconds <= _LONGEST):
        raise ConfigError(
            f"`{value}` is not a duration", hint="write seconds, or `500ms`, `5s`, `1m`, `2h`, `30d`"
        )
    return seconds


def parse_share(value: Any) -> float:
    """A part of one from `0.2` or `"20%"`."""
    share = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        share = float(value)
    elif isinstance(value, str) and (match := _SHARE.fullmatch(value.strip())):
        share = float(match[1]) / 100
    if not 0 <= share <= 1:
        raise ConfigError(f"`{value}` is not a share", hint="write `20%`, or 0.2")
    return share


def percent(share: float) -> int:
    """Whole percents; what is more than nothing stays at least 1."""
    return max(1, round(share * 100)) if share > 0 else 0


def milliseconds(seconds: float) -> int:
    """Whole milliseconds; what is more than nothing stays at least 1."""
    return max(1, round(seconds * 1000)) if seconds > 0 else 0


def shown_duration(seconds: float) -> str:
    """The shortest text that reads back as the same duration."""
    if seconds < 1 and seconds > 0:
        return f"{milliseconds(seconds)}ms"
    if seconds >= 60 and seconds % 60 == 0:
        return f"{seconds / 60:g}m"
    return f"{seconds:.12g}s"


def _positive(seconds: float) -> float:
    return parse_duration(seconds) or _refuse_zero()


def _refuse_zero() -> float:
    raise ConfigError("`0` is not a valid duration here", hint="write a duration such as `5s`")


_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)?$"},
    ]
}

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^\d+\s*[kKmMgG]?([iI]?[bB])?$"},
            ]
        }
    ),
]
"""A number of bytes."""

Duration = Annotated[
    float,
    BeforeValidator(_positive),
    PlainSerializer(shown_duration, return_type=str, when_used="json"),
    WithJsonSchema(_DURATION_SCHEMA),
]
"""Seconds, more than none."""

Share = Annotated[
    float,
    BeforeValidator(parse_share),
    PlainSerializer(lambda share: f"{share * 100:.6g}%", return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$"},
            ]
        }
    ),
]
"""A part of one: `0.2` or `"20%"`."""
