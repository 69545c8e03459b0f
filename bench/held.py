"""How long a whole configuration holds a worker's loop, and how long it takes, with many routes.

    bench/held.py [--routes 10000] [--rounds 10]

A worker's engine runs in this process, as in a worker. A timer of the loop is due each millisecond: how late it comes
is how long the loop was held, and its thread's processor time meanwhile says how much of that was its own work, on a
machine that does other things too. First at rest, for comparison, then while configurations are made ready beside the
loop and applied, one after another, and what they have replaced is freed.
"""

import argparse
import asyncio
import json
import os
import time
from typing import Any

from headgate import Gateway, _core
from headgate.compile.order import compile_gateway
from headgate.worker.loop import Loop

STEP_S = 0.001


def snapshot(routes: int) -> dict[str, Any]:
    """As of a gateway with so many routes."""
    gate = Gateway()
    gate.listen("127.0.0.1:0")
    api = gate.upstream("api", "127.0.0.1:9000")
    for number in range(routes):
        gate.route(f"/service-{number}/*", to=api, host=f"h{number % 100}.example.com")
    found: dict[str, Any] = json.loads(compile_gateway(gate).snapshot)
    return {**found, "metrics": True}


class Meter:
    """How late timers come."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self.worked_ms: list[float] = []

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            begun, worked = time.perf_counter(), time.thread_time()
            await asyncio.sleep(STEP_S)
            self.late_ms.append((time.perf_counter() - begun - STEP_S) * 1000)
            self.worked_ms.append((time.thread_time() - worked) * 1000)

    def row(self, name: str) -> str:
        """A line of the table."""
        late, worked = sorted(self.late_ms), max(self.worked_ms)
        self.late_ms.clear()
        self.worked_ms.clear()
        middle, high = late[len(late) // 2], late[int(len(late) * 0.99)]
        return f"| {name} | {middle:.2f} | {high:.2f} | {late[-1]:.1f} | {worked:.1f} |"


async def prepared(core: _core.Core, text: bytes) -> None:
    """Makes it ready beside the loop."""
    memory = os.memfd_create("snapshot")
    os.write(memory, text)
    ready: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    core.prepare_aside(memory, 0, [], ready.set_result)
    assert await ready is None


async def measure(core: _core.Core, routes: int, rounds: int) -> None:
    """Prints the table."""
    whole = snapshot(routes)
    texts = [json.dumps({**whole, "request_id_header": name}).encode() for name in ("x-id", "x-other-id")]
    meter = Meter()
    print(
        f"{routes} routes, {len(texts[0]) / 1e6:.1f} MB\n\n| | median, ms | p99, ms | longest, ms |\n|---|---|---|---|"
    )
    metering = asyncio.create_task(meter.run())
    await asyncio.sleep(1)
    print(meter.row("at rest"))
    taken_ms = []
    for number in range(rounds):
        begun = time.perf_counter()
        await prepared(core, texts[number % 2])
        core.commit()
        taken_ms.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(0.2)
    print(meter.row("with changes"))
    metering.cancel()
    begun = time.perf_counter()
    core.apply(texts[0].decode(), [])
    at_once = (time.perf_counter() - begun) * 1000
    median = sorted(taken_ms)[rounds // 2]
    print(f"\nready beside the loop and applied in {median:.0f} ms (median), at once in {at_once:.0f} ms")


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    loop = Loop()
    asyncio.set_event_loop(loop)
    core = _core.Core(loop)
    core.use_metrics(_core.Metrics())
    loop.attach(core)
    try:
        loop.run_until_complete(measure(core, given.routes, given.rounds))
    finally:
        loop.detach()
        loop.close()


if __name__ == "__main__":
    main()
