"""Connections that stay for long, while the configuration changes again and again."""

import asyncio
import contextlib
import json
from pathlib import Path

import pytest
from e2e.kit import RunningGateway, Serve, eventually
from e2e.kit.admin import Admin
from e2e.kit.websocket import WebSocketServer
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

CONNECTIONS, PUSHES = 100, 200


def resident_kb(gateway: RunningGateway) -> int:
    """Of the one worker, its own."""
    [pid] = gateway.workers
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return int(next(line for line in file if line.startswith("Pss_Anon")).split()[1])


@pytest.mark.slow
async def test_websockets_stay_over_many_changes_and_keep_no_former_configuration(
    serve: Serve, tmp_path: Path
) -> None:
    with WebSocketServer() as server:
        gateway = serve(
            {
                "admin": f"unix:{tmp_path}/admin.sock",
                "state_folder": str(tmp_path / "state"),
                "routes": [{"path": "/ws", "to": server.address}],
            },
            workers=1,
        )
        admin = Admin(f"unix:{tmp_path}/admin.sock")
        many = {f"r{n}": {"path": f"/r{n}", "respond": "x" * 1000} for n in range(1000)}
        assert admin.ask("POST", "/v1/import", {"resources": {"routes": many}}).status == 200

        def push(number: int) -> None:
            """Every fourth one is more than routes, so all is built anew."""
            kind = "upstreams" if number % 4 == 0 else "routes"
            route = {"path": "/changing", "respond": f"{number}"}
            document = {"servers": [f"127.0.0.1:{9000 + number}"]} if kind == "upstreams" else route
            put = admin.put(f"/v1/{kind}/changing", document)
            assert put.status in (200, 201), put.body

        sockets = []
        for number in range(CONNECTIONS):
            sockets.append(await connect(f"ws://{gateway.address}/ws", ping_interval=None))
            await asyncio.to_thread(push, number % 8)  # each begins under another configuration
        before = resident_kb(gateway)
        for number in range(PUSHES):
            await asyncio.to_thread(push, number)
        assert resident_kb(gateway) < before * 1.1 + 2000
        for number, socket in enumerate(sockets):
            await socket.send(json.dumps(number))
            assert await socket.recv() == json.dumps(number)
            await socket.close()


RELOADS, HELD = 50, 20
CODE = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
gate.timeouts(drain="1h", upstream_idle="1h", client_idle="1h")
gate.route("/ws", to={server!r})
gate.route("/version", respond="{version}")
"""


def processes_and_kb(gateway: RunningGateway) -> tuple[int, int]:
    """The workers, those that drain too, and their own memory together."""
    pids = [worker["pid"] for worker in gateway.ask()["workers"]]
    total = 0
    for pid in pids:
        # one that drains may end meanwhile
        with (
            contextlib.suppress(FileNotFoundError, ProcessLookupError),
            open(f"/proc/{pid}/smaps_rollup") as file,
        ):
            total += int(next(line for line in file if line.startswith("Pss_Anon")).split()[1])
    return len(pids), total


@pytest.mark.slow
async def test_websockets_stay_over_many_versions_of_the_code_and_workers_do_not_pile_up(
    serve: Serve,
) -> None:
    with WebSocketServer() as server:
        gateway = serve(CODE.format(server=server.address, version=0), workers=1)
        sockets = [await connect(f"ws://{gateway.address}/ws", ping_interval=None) for _ in range(HELD)]
        seen = []
        for number in range(1, RELOADS + 1):
            gateway.write(CODE.format(server=server.address, version=number))
            reply = await asyncio.to_thread(gateway.ask, "reload")
            assert reply["ok"] and not reply["in_place"], reply
            assert gateway.get("/version").text == str(number)
            await asyncio.to_thread(
                eventually, lambda: processes_and_kb(gateway)[0] == 2, "those without connections end"
            )
            seen.append(processes_and_kb(gateway)[1])
        assert seen[-1] < seen[4] * 1.1 + 2000
        for number, socket in enumerate(sockets):
            await socket.send(json.dumps(number))
            assert await socket.recv() == json.dumps(number)
            await socket.close()
        await asyncio.to_thread(
            eventually,
            lambda: processes_and_kb(gateway)[0] == 1,
            "the first version ends with its last client",
        )


async def test_no_more_versions_drain_than_may_and_the_oldest_goes_first(serve: Serve) -> None:
    limited = CODE + "gate.limits(max_draining_generations=2)\n"
    with WebSocketServer() as server:
        gateway = serve(limited.format(server=server.address, version=0), workers=1)
        sockets = []
        for number in range(1, 6):
            sockets.append(await connect(f"ws://{gateway.address}/ws", ping_interval=None))
            gateway.write(limited.format(server=server.address, version=number))
            reply = await asyncio.to_thread(gateway.ask, "reload")
            assert reply["ok"] and not reply["in_place"], reply
        for gone in sockets[:3]:
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(gone.recv(), 30)
        await asyncio.to_thread(
            eventually, lambda: processes_and_kb(gateway)[0] == 3, "the oldest versions end"
        )
        states = [(worker["generation"], worker["state"]) for worker in gateway.ask()["workers"]]
        assert sorted(states) == [(4, "draining"), (5, "draining"), (6, "ready")]
        assert "more than 2 former generations drain; stopping the oldest generation=1" in gateway.log()
        for socket in sockets[3:]:
            await socket.send("still here")
            assert await socket.recv() == "still here"
            await socket.close()
