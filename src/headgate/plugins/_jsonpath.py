"""Queries of JSONPath (RFC 9535), as they run in a job process."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

from headgate import ConfigError

from ._bodies import BadBody, parsed_json
from ._bounds import bounded
from ._numbers import to_json


def checked(query: str) -> str:
    """A query that is valid; raises `ConfigError`."""
    try:
        _compiled(query)
    except ImportError:
        raise ConfigError(
            "queries need the library `jsonpath-rfc9535`", hint="pip install 'headgate[plugins]'"
        ) from None
    except Exception as error:  # the library's own
        raise ConfigError(f"`{query}` is not a valid query: {error}", hint="as RFC 9535 says it") from None
    return query


@lru_cache(256)
def _compiled(query: str) -> Any:
    library: Any = importlib.import_module("jsonpath_rfc9535")
    return library.compile(query)


def run(
    query: str | dict[str, str],
    first: bool,
    body: bytes,
    depth: int,
    most_bytes: int,
    seconds: float,
    most_memory: int,
) -> bytes:
    """What a query finds in a body, all or the first; of several queries an object of the first of each; raises
    `BadBody`.
    """
    with bounded(seconds, most_memory):
        value = parsed_json(body, depth=depth, keeps_numbers=True, computes=True)
        if isinstance(query, dict):
            pairs = ((name, _found(one, value)) for name, one in query.items())
            made = to_json({name: found[0] if found else None for name, found in pairs})
        else:
            found = _found(query, value)
            made = to_json((found[0] if found else None) if first else found)
        content = made.encode("utf-8", "replace")
    if len(content) > most_bytes:
        raise BadBody("what the query finds is too large", 413)
    return content


def _found(query: str, value: Any) -> list[Any]:
    library: Any = importlib.import_module("jsonpath_rfc9535")
    try:
        found: list[Any] = _compiled(query).find(value).values()
    except RecursionError:
        raise BadBody("the body is nested too deep") from None
    except (library.JSONPathError, ValueError, TypeError, LookupError) as error:
        raise BadBody(f"the body is not what the query wants: {error}"[:300]) from None
    return found
