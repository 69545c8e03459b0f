"""What requests carry, read strictly: JSON of the right media type; numbers and switches of queries."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.requests import Request

from .problems import Refusal
from .writing import ANY, Expectation

JSON, MERGE_PATCH, JSON_PATCH = (
    "application/json",
    "application/merge-patch+json",
    "application/json-patch+json",
)
_ETAG = re.compile(r'(W/)?"([0-9]{1,18})"|(\*)')


def media_type(request: Request) -> str:
    """Of the body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def json_body(request: Request, *types: str) -> Any:
    """The body as JSON; raises a 400 or a 415."""
    wanted = types or (JSON,)
    if media_type(request) not in wanted:
        raise Refusal(415, f"the body is not {' or '.join(wanted)}", "say so in `Content-Type`")
    data = await request.body()
    try:
        return json.loads(data, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise Refusal(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise Refusal(400, f"the body is not valid JSON: {str(error)[:200]}") from None


async def object_body(request: Request, keys: dict[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """The body as a JSON object with these keys, whose values are of these types; raises a 400."""
    body = await json_body(request)
    if not isinstance(body, dict):
        raise Refusal(400, "the body is not an object")
    for key, value in body.items():
        if key not in keys:
            raise Refusal(400, f"unknown key `{key[:100]}`", f"one of {', '.join(keys)}")
        if isinstance(value, float) and value.is_integer() and int in _listed(keys[key]):
            body[key] = value = int(value)  # 1.0 is an integer, says JSON Schema
        is_switch = isinstance(value, bool)
        if not isinstance(value, keys[key]) or (is_switch and bool not in _listed(keys[key])):
            raise Refusal(400, f"`{key}` has a wrong type")
    return body


def _listed(kind: type | tuple[type, ...]) -> tuple[type, ...]:
    return kind if isinstance(kind, tuple) else (kind,)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"`{text}` is not JSON")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("duplicate key in an object")
    return table


def query(request: Request, *names: str) -> dict[str, str]:
    """The query's values, each given once and none unknown; raises a 400."""
    found: dict[str, str] = {}
    if not request.scope["query_string"]:
        return found
    for name, value in request.query_params.multi_items():
        if name not in names:
            raise Refusal(
                400,
                f"unknown query parameter `{name[:100]}`",
                f"one of {', '.join(names)}" if names else None,
            )
        if name in found:
            raise Refusal(400, f"`{name}` is given twice")
        found[name] = value
    return found


def number(given: dict[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    """A whole number of the query; raises a 400."""
    text = given.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,18}", text) or not lowest <= int(text) <= highest:
        raise Refusal(400, f"`{name}` is not a number from {lowest} to {highest}")
    return int(text)


def switch(given: dict[str, str], name: str) -> bool:
    """Whether a switch of the query is on; raises a 400."""
    text = given.get(name, "false")
    if text not in ("true", "false"):
        raise Refusal(400, f"`{name}` is `true` or `false`")
    return text == "true"


def if_match(request: Request) -> Expectation:
    """The revisions of `If-Match`; what is none of ours matches nothing."""
    text = request.headers.get("if-match")
    return None if text is None else _etags(text, "If-Match")


def if_none_match(request: Request) -> Expectation:
    """The revisions of `If-None-Match`."""
    text = request.headers.get("if-none-match")
    return None if text is None else _etags(text, "If-None-Match")


def _etags(text: str, field: str) -> list[int | str]:
    found: list[int | str] = []
    for part in text.split(","):
        match = _ETAG.fullmatch(part.strip())
        if match is None or (match[1] and field == "If-Match"):  # which compares strongly
            found.append(-1)
        else:
            found.append(ANY if match[3] else int(match[2]))
    return found
