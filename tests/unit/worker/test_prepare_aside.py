"""A configuration that is made ready beside the loop."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from headgate import Gateway, _core
from headgate.compile.order import compile_gateway
from headgate.worker.loop import Loop


def snapshot(routes: int = 1) -> str:
    gate = Gateway()
    gate.listen("127.0.0.1:0")
    for number in range(routes):
        gate.route(f"/{number}", respond=f"{number}")
    return compile_gateway(gate).snapshot


def memory(text: str, before: bytes = b"") -> int:
    descriptor = os.memfd_create("snapshot")
    os.write(descriptor, before + text.encode())
    return descriptor


class Engine:
    def __init__(self, loop: Loop, core: _core.Core) -> None:
        self.loop, self.core = loop, core
        self.said = list[str | None]()

    def begin(self, text: str, before: bytes = b"") -> "asyncio.Future[str | None]":
        """What is said of it; never done if nothing is."""
        told: asyncio.Future[str | None] = self.loop.create_future()

        def done(error: str | None) -> None:
            self.said.append(error)
            told.set_result(error)

        self.core.prepare_aside(memory(text, before), len(before), [], done)
        return told

    def run(self, told: "asyncio.Future[str | None]") -> str | None:
        return self.loop.run_until_complete(asyncio.wait_for(told, 60))


@pytest.fixture
def engine() -> Iterator[Engine]:
    loop = Loop()
    asyncio.set_event_loop(loop)
    core = _core.Core(loop)
    loop.attach(core)
    try:
        yield Engine(loop, core)
    finally:
        core.close()
        loop.detach()
        asyncio.set_event_loop(None)
        loop.close()


def test_what_is_ready_is_applied(engine: Engine) -> None:
    assert engine.run(engine.begin(snapshot(500), b'{"told": 1}\n')) is None
    engine.core.commit()
    with pytest.raises(RuntimeError, match="no configuration is prepared"):
        engine.core.commit()


def test_the_loop_goes_on_meanwhile(engine: Engine) -> None:
    told = engine.begin(snapshot(2000))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while not told.done():
            turns += 1
            await asyncio.sleep(0)

    engine.loop.run_until_complete(asyncio.wait_for(count(), 60))
    assert turns > 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "bad snapshot: EOF"),
        ("", "bad snapshot: EOF"),
        ('{"unknown": 1}', "bad snapshot: unknown field `unknown`"),
        (
            snapshot()
            .replace('"path":"/0"', '"path":"no path"')
            .replace('"path": "/0"', '"path": "no path"'),
            "no path",
        ),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_ready(engine: Engine, text: str, said: str) -> None:
    error = engine.run(engine.begin(text))
    assert error is not None and said in error
    with pytest.raises(RuntimeError):
        engine.core.commit()


def test_what_was_discarded_is_not_told_and_not_ready(engine: Engine) -> None:
    engine.begin(snapshot(100))
    engine.core.discard()
    assert engine.run(engine.begin(snapshot())) is None
    assert engine.said == [None]
    engine.core.discard()
    with pytest.raises(RuntimeError):
        engine.core.commit()


def test_a_later_one_takes_the_place_of_an_earlier_one(engine: Engine) -> None:
    engine.begin("{")
    assert engine.run(engine.begin(snapshot())) is None
    assert engine.said == [None]
    engine.begin("{")
    engine.core.prepare(snapshot(2), [])
    engine.core.commit()
    assert engine.run(engine.begin(snapshot())) is None
    assert engine.said == [None, None]


def test_a_descriptor_that_is_none_is_refused(engine: Engine) -> None:
    with pytest.raises(OSError):
        engine.core.prepare_aside(-1, 0, [], print)
