"""What hooks ask of a request's body: the coroutines behind `request.body()`, `text`, `json`, `form` and `stream`.

How it works: the engine reads for a hook while the hook waits. `request._want` leaves word of what is wanted and a
future for it; the body is kept on the way, in memory or in a temporary file, so that it can still be sent on.
"""

from __future__ import annotations

import asyncio
import json as json_module
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .form import Form
    from .query_params import QueryParams


async def body(request: Any, decode: bool = False) -> bytes:
    """The whole body; `decode` undoes its Content-Encoding."""
    whole: bytes | None = request._whole()
    if whole is None:
        await _wait(request, "whole")
        whole = request._whole() or b""
    return request._decoded(whole) if decode else whole


async def text(request: Any) -> str:
    """The whole body as text, in the charset of its content type (UTF-8 if it names none)."""
    from .form import parse_options

    _, options = parse_options(request.headers.get("content-type", ""))
    charset = options.get("charset", "utf-8")
    try:
        return (await body(request, decode=True)).decode(charset)
    except LookupError:
        raise ValueError(f"the charset `{charset}` is unknown") from None


async def json(request: Any) -> Any:
    """What the body's JSON says; raises `ValueError` for what is none."""
    return parsed_json(await body(request, decode=True))


def parsed_json(whole: bytes) -> Any:
    """What a text of JSON says; raises `ValueError` for what is none, or nested deeper than Python can follow."""
    try:
        return json_module.loads(whole, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"the JSON has `{name}`, which is not a number of JSON")


def query_params(query: str) -> QueryParams:
    """What a query says."""
    from .query_params import QueryParams

    return QueryParams(query)


def cookies(fields: list[str]) -> dict[str, str]:
    """What `Cookie` fields say."""
    from ._cookies import read

    return read(fields)


def set_cookie(fields: Any, *said: Any, **named: Any) -> None:
    """`response.set_cookie` of a response that is being relayed."""
    from ._cookies import CookiesOf

    CookiesOf(fields).set_cookie(*said, **named)


def delete_cookie(fields: Any, *said: Any, **named: Any) -> None:
    """`response.delete_cookie` of a response that is being relayed."""
    from ._cookies import CookiesOf

    CookiesOf(fields).delete_cookie(*said, **named)


async def form(request: Any) -> Form:
    """The fields and files of a form; raises `ValueError` for what is none."""
    from .form import parse_form

    return parse_form(request.headers.get("content-type", ""), await body(request, decode=True))


async def stream(request: Any, keep: bool) -> AsyncIterator[bytes]:
    """The body's pieces as they come; without `keep` they are gone then."""
    whole: bytes | None = request._whole()
    if whole is not None:
        if whole:
            yield whole
        return
    kind = "piece" if keep else "away"
    while (piece := await _wait(request, kind)) is not None:
        yield piece


async def _wait(request: Any, kind: str) -> bytes | None:
    future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    request._want(kind, future)
    return await future
