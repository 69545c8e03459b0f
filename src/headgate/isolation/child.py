"""The process of an isolated plugin: one call after another, until its worker closes the socket.

How it works: its first message says which plugin it is. The source is read, the process locked down, and only
then the source is run. Every message is a length of four bytes and JSON.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import os
import socket
import struct
import sys
import traceback
from typing import Any, NoReturn

import headgate
from headgate.plugin import Plugin

from .lockdown import NotAllowed, check, lock_down
from .sources import Sources, Unreadable
from .views import LINES, Changes, IsolatedContext, IsolatedRequest, IsolatedResponse

LENGTH = struct.Struct("!I")
HOOKS = ("request", "response")


def main() -> NoReturn:
    """The whole life of the process."""
    line = socket.socket(fileno=int(sys.argv[1]))
    told = json.loads(_read(line))
    os.environ.clear()
    loop = asyncio.new_event_loop()
    try:
        plugin, description = _made(told)
    except (Unreadable, NotAllowed) as error:
        _send(line, {"refused": str(error)})
        sys.exit(0)
    except BaseException as error:
        _send(line, {"failed": _shown(error)})
        sys.exit(0)
    _send(line, description)
    while True:
        _send(line, _called(plugin, loop, json.loads(_read(line))))


def _made(told: dict[str, Any]) -> tuple[Plugin, dict[str, Any]]:
    check()  # which loads the library, while there are files
    module, _, name = told["plugin"].rpartition(":")
    sources = Sources(module, told["path"], told["modules"])
    if told["digest"] not in ("", sources.digest):
        raise Unreadable(f"its source is another one, with the digest {sources.digest}")
    sources.import_trusted()
    for encoding in ("ascii", "latin-1", "utf-8", "utf-16", "idna", "punycode", "unicode-escape"):
        "a".encode(encoding).decode(encoding)
    sys.meta_path[:] = [*sys.meta_path[:2], sources]  # built-in and frozen modules, and no files
    sys.path.clear()
    lock_down(told["memory"])
    kind: Any = sys.modules.get(module) or __import__(module, fromlist=[name])
    for part in name.split("."):
        kind = getattr(kind, part, None)
    if not (isinstance(kind, type) and issubclass(kind, Plugin)):
        raise Unreadable(f"`{told['plugin']}` is not a plugin")
    others = [phase for phase in kind.phases if phase not in HOOKS]
    if others:
        raise Unreadable(f"it has a `{others[0]}` hook: an isolated plugin may have `request` and `response`")
    if kind.close is not Plugin.close:
        raise Unreadable("it has a `close` method, and nothing to release")
    plugin: Plugin = kind(**told["config"])
    plugin._set_up(IsolatedContext(told["name"]))  # type: ignore[arg-type]
    return plugin, {"phases": list(kind.phases), "order": int(plugin.order), "digest": sources.digest}


def _called(plugin: Plugin, loop: asyncio.AbstractEventLoop, call: dict[str, Any]) -> dict[str, Any]:
    changes: Changes = []
    request = IsolatedRequest(call["request"], call["state"], changes)
    views: list[Any] = [request]
    if call["response"] is not None:
        views.append(IsolatedResponse(call["response"], changes))
    LINES.clear()
    try:
        result = getattr(plugin, call["phase"])(*views)
        if inspect.isawaitable(result):
            result = loop.run_until_complete(_awaited(result))
        reply = None if result is None else _response(result)
    except Exception as error:
        return {"error": _shown(error), "lines": LINES}
    state = {name: value for name, value in vars(request.state).items() if name != "consumer"}
    return {"changes": changes, "response": reply, "state": state, "lines": LINES}


async def _awaited(result: Any) -> Any:
    return await result


def _response(result: Any) -> dict[str, Any]:
    if not isinstance(result, headgate.Response):
        raise TypeError(f"a hook returned `{type(result).__name__}`, which is not a response")
    if not (result.body is None or isinstance(result.body, bytes)):
        raise TypeError("an isolated plugin cannot stream a body")
    return {
        "status": result.status,
        "headers": result.headers.items(),
        "body": base64.b64encode(result.body or b"").decode(),
    }


def _shown(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({os.path.basename(last[0].filename)}:{last[0].lineno})" if last else ""
    hint = getattr(error, "hint", None)
    text = getattr(error, "message", None) or str(error)
    return f"{type(error).__name__}: {text}{where}{f'; hint: {hint}' if hint else ''}"[:1000]


def _send(line: socket.socket, thing: object) -> None:
    try:
        data = json.dumps(thing).encode()
    except (TypeError, ValueError, RecursionError) as error:
        data = json.dumps(
            {"error": f"what a hook has set is not plain data: {error}"[:500], "lines": []}
        ).encode()
    line.sendall(LENGTH.pack(len(data)) + data)


def _read(line: socket.socket) -> bytes:
    data = bytearray()
    (length,) = LENGTH.unpack(_exactly(line, LENGTH.size))
    while len(data) < length:
        data += _exactly(line, min(65536, length - len(data)))
    return bytes(data)


def _exactly(line: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        chunk = line.recv(length - len(data))
        if not chunk:
            os._exit(0)  # the worker has exited, or ends this process
        data += chunk
    return data


if __name__ == "__main__":
    main()
