"""Lists of servers: from a file that is watched, or from a function of the user's.

How it works: each server of a list is read as one of the configuration is, so what is wrong is said in the same words.
A list with anything wrong in it is a failed lookup, as a whole: the last one stays in use. The file is the operator's
own word, and may be empty; so may what a generator yields. A function that is called again and again, and says
nothing, may have lost its source: that is believed at the third time, as it is of DNS.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from headgate.config.addresses import LISTED
from headgate.config.errors import ConfigError
from headgate.config.upstreams import ServerConfig

from .outcomes import Failed, Nothing, Outcome, Resolved

CALL_LIMIT_S = 10.0
"""For a function to say what servers there are."""
EVERY_S = 10.0
"""How often functions are called that a document names."""
FILE_S = 1.0
"""How often a file is looked at."""
MOST_FILE_BYTES = 16 << 20

log = logging.getLogger("headgate.discovery")


class Source(NamedTuple):
    """A function that says which servers there are."""

    function: Callable[[], Any]
    every_s: float


def servers_in(given: Any) -> tuple[str, ...]:
    """The servers of a list, each as JSON, in order; raises `ConfigError`."""
    if not isinstance(given, list | tuple):
        raise ConfigError(
            f"`{given!r}` is not a list of servers"[:200],
            hint='give a list such as `["10.0.0.1:9000 weight=2"]`',
        )
    found: dict[str, None] = {}
    for one in given:
        server = ServerConfig.parse(one)
        if server.address.startswith(("srv:", *LISTED)):
            raise ConfigError(
                f"`{server.address}` cannot be in a list", hint="list addresses: `10.0.0.1:9000`"
            )
        found[json.dumps(server.model_dump(include=server.model_fields_set))] = None
    return tuple(found)


async def read_list(path: str) -> Outcome:
    """The servers of a file: one a line in the short form, with comments behind `#`."""
    try:
        data = await asyncio.to_thread(_read, path)
        lines = [line.partition("#")[0].strip() for line in data.decode().splitlines()]
    except OSError as error:
        return Failed(f"{path}: {error.strerror or error}")
    except ValueError as error:
        return Failed(f"{path}: {error}")
    listed: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            listed += servers_in([line]) if line else ()
        except ConfigError as error:
            return Failed(f"{path}:{number}: {error.problems[0].message}")
    return Resolved(tuple(dict.fromkeys(listed)), FILE_S)


def _read(path: str) -> bytes:
    with Path(path).open("rb") as file:
        data = file.read(MOST_FILE_BYTES + 1)
    if len(data) > MOST_FILE_BYTES:
        raise ValueError(f"more than {MOST_FILE_BYTES} bytes")
    return data


async def lists_of(name: str, sources: Mapping[str, Source]) -> AsyncGenerator[Outcome, None]:
    """What a function says, again and again; it ends where the function cannot be called at all, or ends by itself.

    What it raises is an outcome, and logged with its traceback, whatever it is: `sys.exit()` ends no lookup. A function
    that is not async runs in a thread.
    """
    try:
        source = sources[name] if name in sources else Source(_imported(name), EVERY_S)
    except BaseException as error:
        yield Failed(f"`{name}`: {_shown(error)}")
        return
    if not inspect.isasyncgenfunction(source.function):
        yield await _called(name, source)
        return
    given = source.function()
    try:
        is_last = False
        while not is_last:
            outcome, is_last = await _next(name, given)
            yield outcome
    finally:
        await given.aclose()


async def _called(name: str, source: Source) -> Outcome:
    """What a function returns."""
    limit = asyncio.timeout(CALL_LIMIT_S)
    try:
        async with limit:
            if inspect.iscoroutinefunction(source.function):
                said = await source.function()
            else:
                said, error = await asyncio.to_thread(_kept, source.function)
                if error is not None:
                    return _raised(name, error)
    except BaseException as error:
        if _is_cancelled():
            raise
        if limit.expired():
            return Failed(f"`{name}` did not return within {CALL_LIMIT_S:g} s")
        return _raised(name, error)
    return _listed(name, said, source.every_s, is_believed=False)


async def _next(name: str, given: AsyncGenerator[Any, None]) -> tuple[Outcome, bool]:
    """What a generator yields next, or how it ended; and whether that was the last."""
    try:
        return _listed(name, await anext(given), 0.0, is_believed=True), False
    except StopAsyncIteration:
        return Failed(f"`{name}` has ended"), True
    except BaseException as error:
        if _is_cancelled():
            raise
        return _raised(name, error), True


def _kept(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What a function returns, or raises: not everything can be raised across threads."""
    try:
        return function(), None
    except BaseException as error:
        return None, error


def _is_cancelled() -> bool:
    """Whether somebody cancels this task: a `CancelledError` may also be the function's own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _imported(name: str) -> Callable[[], Any]:
    module, _, function = name.partition(":")
    found: Callable[[], Any] = getattr(importlib.import_module(module), function)
    return found


def _listed(name: str, given: Any, every_s: float, *, is_believed: bool) -> Outcome:
    """What a function has given; that there is nothing is `is_believed` at once or not."""
    try:
        found = servers_in(given)
    except ConfigError as error:
        return Failed(f"`{name}`: {error.problems[0].message}")
    return Resolved(found, every_s) if found or is_believed else Nothing("nodata", None)


def _raised(name: str, error: BaseException) -> Failed:
    log.error("the discovery function has failed", exc_info=error, extra={"function": name})
    return Failed(f"`{name}`: {_shown(error)}")


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")
