"""Numbers in settings of plugins that pydantic takes although a file hardly means them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import Path, Problem, dotted


def not_numbers(given: Any, taken: Any, path: Path) -> Iterator[Problem]:
    """`true`, which stands for 1, and what is infinite; `taken` is what pydantic made of `given`, at `path`."""
    fields = getattr(type(taken), "model_fields", None)
    if isinstance(given, bool) and isinstance(taken, int | float) and not isinstance(taken, bool):
        shown = str(given).lower()
        yield Problem(f"`{dotted(path)}` must be a number, not `{shown}`", "write digits, such as `10`")
    elif isinstance(given, float) and not math.isfinite(given):
        yield Problem(
            f"`{dotted(path)}` must be a finite number, not `{given}`", "write digits, such as `10`"
        )
    elif isinstance(given, Mapping):
        for key, inner in given.items():
            yield from not_numbers(inner, _member(taken, fields, key), (*path, key))
    elif isinstance(given, list | tuple):
        same = (
            list(taken)
            if isinstance(taken, list | tuple) and len(taken) == len(given)
            else [None] * len(given)
        )
        for number, (inner, one) in enumerate(zip(given, same, strict=True)):
            yield from not_numbers(inner, one, (*path, number))


def _member(taken: Any, fields: Any, key: Any) -> Any:
    if fields is not None:
        names = [name for name, field in fields.items() if key in (name, field.alias)]
        return getattr(taken, names[0], None) if names else None
    return taken.get(key) if isinstance(taken, Mapping) else None
