"""What an agent goes through while requests come without a pause: it is killed, and flooded with changes."""

import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

from headgate.stores import Key, Transaction, Write, open_store

from .kit import Origin, RunningGateway, Serve, eventually
from .kit.admin import Admin
from .kit.traffic import Traffic


def described(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "state_folder": str(folder / "state"),
        "routes": [{"path": "/file", "respond": "of the file"}],
        **more,
    }


class Writer:
    """Puts one route after another; knows which were said to be done, and which of those did not serve at once."""

    def __init__(self, admin: Admin, gateway: RunningGateway) -> None:
        self.done: list[int] = []
        self.refused: list[str] = []
        self._admin, self._gateway, self._ended = admin, gateway, threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=60)

    def _write(self) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            try:
                put = self._admin.put(
                    f"/v1/routes/r{number}", {"path": f"/r{number}", "respond": f"{number}"}
                )
            except OSError:
                continue  # the agent was killed: it may have been done
            if put.status == 201:
                served = [self._gateway.get(f"/r{number}").text for _ in range(2)]
                if served != [f"{number}"] * 2:
                    self.refused.append(f"{number} was done, and served as {served}")
                self.done.append(number)
            elif put.status != 503:
                self.refused.append(f"{put.status}: {put.text}")


def test_an_agent_killed_at_any_moment_loses_nothing_and_fails_no_request(
    serve: Serve, tmp_path: Path
) -> None:
    gateway = serve(described(tmp_path, admin=f"unix:{tmp_path}/admin.sock"), workers=2)
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    moments = random.Random(7)
    with Traffic([gateway], "/file") as traffic, Writer(admin, gateway) as writer:
        for _ in range(6):
            known = len(writer.done)
            eventually(lambda known=known: len(writer.done) > known + 2, "changes are made", within=60)
            agent = gateway.ask()["agent"]
            threading.Event().wait(moments.uniform(0, 0.03))
            os.kill(agent, signal.SIGKILL)
            eventually(lambda agent=agent: gateway.ask()["agent"] not in (None, agent), "another one works")
        known = len(writer.done)
        eventually(lambda: len(writer.done) > known, "changes are made after the last", within=60)
    assert traffic.failures == []
    assert writer.refused == []
    for number in writer.done:
        assert [gateway.get(f"/r{number}").text for _ in range(3)] == [f"{number}"] * 3
        assert admin.get(f"/v1/routes/r{number}").status == 200


async def test_a_flood_of_renames_is_followed_to_its_end_and_fails_no_request(
    serve: Serve, tmp_path: Path, origin: Origin
) -> None:
    """Each revision has another upstream, and the route to it: nobody serves one without the other."""
    url = f"sqlite://{tmp_path}/store.db"
    async with open_store(url) as store:
        await store.apply(renamed(0, origin))
        gateway = serve(described(tmp_path, store=url), workers=2)
        before = gateway.ask()["agent"]
        with Traffic([gateway], "/a") as traffic:
            for number in range(1, 500):
                await store.apply(renamed(number, origin))
            last = Write(Key("routes", "last"), {"path": "/last", "respond": "last"})
            await store.apply(Transaction((last,)))
            eventually(lambda: gateway.get("/last").text == "last", "the last one serves", within=60)
        assert [gateway.get(path).status for path in ("/a", "/last") * 10] == [200] * 20
    assert traffic.failures == []
    assert traffic.succeeded > 0
    assert gateway.ask()["agent"] == before


def renamed(number: int, origin: Origin) -> Transaction:
    """A route to an upstream of another name than before."""
    writes = [
        Write(Key("upstreams", f"u{number}"), {"servers": [origin.address]}),
        Write(Key("routes", "a"), {"path": "/a", "to": f"u{number}"}),
    ]
    if number:
        writes.append(Write(Key("upstreams", f"u{number - 1}"), None))
    return Transaction(tuple(writes))
