"""An application's lifespan, however it ends."""

import asyncio
import sys
from typing import Any

import pytest

from headgate.asgi.lifespan import Lifespan

EXITS: dict[str, BaseException] = {
    "exit": SystemExit(0),
    "interrupt": KeyboardInterrupt(),
    "cancelled": asyncio.CancelledError(),
}


def application(error: BaseException, at: str) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if at == "call":
            raise error
        await receive()
        if at == "startup":
            raise error
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise error

    return app


async def whole(lifespan: Lifespan) -> None:
    await lifespan.startup()
    await lifespan.shutdown()


@pytest.mark.parametrize("how", EXITS)
@pytest.mark.parametrize("at", ["call", "startup"])
async def test_an_exit_keeps_the_worker_from_serving(how: str, at: str) -> None:
    with pytest.raises(RuntimeError, match=f"did not start: it raised {type(EXITS[how]).__name__}"):
        await Lifespan(application(EXITS[how], at)).startup()


@pytest.mark.parametrize("how", [*EXITS, "exception"])
async def test_what_ends_the_shutdown_is_told(how: str) -> None:
    error = EXITS.get(how, ValueError("no"))
    with pytest.raises(RuntimeError, match=f"failed to stop: it raised {type(error).__name__}"):
        await whole(Lifespan(application(error, "shutdown")))


@pytest.mark.parametrize("at", ["call", "startup"])
async def test_an_exception_before_the_start_means_no_lifespan(at: str) -> None:
    await asyncio.wait_for(whole(Lifespan(application(ValueError("unknown scope"), at))), 5)
    assert "unknown scope" not in str(sys.exc_info())
