"""Active health checks: who is asked what, who is left out, and what survives reloads and the monitor's death."""

import contextlib
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually, free_port
from e2e.kit.behaviours import raw, reply
from e2e.kit.http2_server import Http2Server, Stream
from e2e.kit.metrics import scrape

QUICK = {"path": "/healthz", "interval": "100ms", "fall": 2}


@pytest.fixture
def trio() -> Iterator[list[Origin]]:
    """Three servers."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin()) for _ in range(3)]


def source(servers: list[str], health: object = QUICK, **upstream: object) -> dict[str, Any]:
    """A configuration with one upstream."""
    return {
        "upstreams": {"u": {"servers": servers, "health": health, **upstream}},
        "routes": [{"to": "u"}],
    }


def asked(gateway: RunningGateway, count: int) -> Counter[str]:
    """Who responds to so many requests."""
    with gateway.client() as client:
        return Counter(client.get("/who").json()["origin"] for _ in range(count))


def checks(gateway: RunningGateway) -> dict[str, str]:
    """What checks say of servers, by address."""
    return {one["server"]: one["check"] for one in gateway.ask()["servers"]}


def wait_for_state(gateway: RunningGateway, server: str, state: str) -> None:
    eventually(lambda: checks(gateway).get(server) == state, lambda: f"{server} is {state}: {gateway.log()}")


def monitor_of(gateway: RunningGateway) -> int:
    found: int = eventually(lambda: gateway.ask()["monitor"], "there is a monitor")
    return found


def test_server_that_fails_its_checks_is_left_out_until_it_passes_again(
    serve: Serve, trio: list[Origin]
) -> None:
    servers = [one.address for one in trio]
    gateway = serve(source(servers), workers=2)
    for server in servers:
        wait_for_state(gateway, server, "up")
    trio[0].on("/healthz", reply(status="503 Busy"))
    wait_for_state(gateway, servers[0], "down")
    assert set(asked(gateway, 12)) == set(servers[1:])
    assert f"server u {servers[0]}: checks say down" in gateway.cli("status").stdout
    gateway.wait_for_log(rf"the server is down: status 503 upstream=u server={servers[0]}")
    assert gateway.cli("server", "u", servers[1], "drain").returncode == 0
    top = gateway.cli("top", "--count", "1", "--interval", "1").stdout
    assert re.search(rf"u {servers[0]} +down ", top) and re.search(rf"u {servers[1]} +drain ", top)
    assert gateway.cli("server", "u", servers[1], "ready").returncode == 0
    trio[0].on("/healthz", reply())
    wait_for_state(gateway, servers[0], "up")
    assert set(asked(gateway, 12)) == set(servers)


def test_first_check_is_made_at_once_and_decides_alone(serve: Serve, trio: list[Origin]) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    servers = [nobody, trio[0].address]
    gateway = serve(source(servers, {"interval": "1h", "fall": 5}))
    wait_for_state(gateway, nobody, "down")
    gateway.wait_for_log(r"the server is down: cannot connect: .*")


def test_unchecked_server_is_taken_to_be_well_and_if_none_is_well_all_are_asked(
    serve: Serve, trio: list[Origin]
) -> None:
    trio[0].on("/healthz", Call.hang)
    servers = [trio[0].address]
    gateway = serve(source(servers, {**QUICK, "interval": "1h", "timeout": "1h"}))
    trio[0].wait_for("/healthz")
    assert checks(gateway) == {} and asked(gateway, 3)[servers[0]] == 3
    trio[1].on("/healthz", reply(status="500 No"))
    gateway.write(source([trio[1].address]))
    assert gateway.ask("reload")["ok"]
    wait_for_state(gateway, trio[1].address, "down")
    assert asked(gateway, 3)[trio[1].address] == 3


def test_states_survive_reloads_and_the_monitors_death(serve: Serve, trio: list[Origin]) -> None:
    servers = [one.address for one in trio]
    trio[0].on("/healthz", reply(status="503 Busy"))
    gateway = serve(source(servers))
    wait_for_state(gateway, servers[0], "down")
    first = monitor_of(gateway)
    trio[0].clear()
    for number in range(5):
        gateway.write(source(servers) | {"routes": [{"to": "u"}, {"path": f"/{number}", "to": "u"}]})
        assert gateway.ask("reload")["ok"]
        assert checks(gateway)[servers[0]] == "down"
        asked(gateway, 4)
    assert monitor_of(gateway) == first
    os.kill(first, signal.SIGKILL)
    asked(gateway, 8)
    eventually(lambda: gateway.ask()["monitor"] not in (None, first), "another monitor has come")
    asked(gateway, 8)
    assert checks(gateway)[servers[0]] == "down" and not trio[0].at("/who")
    trio[0].on("/healthz", reply())
    wait_for_state(gateway, servers[0], "up")


def test_server_that_is_removed_is_no_longer_checked_and_nothing_is_said_of_it(
    serve: Serve, trio: list[Origin]
) -> None:
    servers = [one.address for one in trio]
    trio[0].on("/healthz", reply(status="503 Busy"))
    gateway = serve(source(servers))
    wait_for_state(gateway, servers[0], "down")
    gateway.write(source(servers[1:]))
    assert gateway.ask("reload")["ok"]
    eventually(lambda: servers[0] not in checks(gateway), "it is forgotten")
    trio[0].clear()
    trio[1].clear()
    trio[1].wait_for("/healthz", 4)
    assert not trio[0].at("/healthz")
    gateway.write(source(servers, None))
    assert gateway.ask("reload")["ok"]
    eventually(lambda: gateway.ask()["monitor"] is None, "there is nothing to watch")
    assert checks(gateway) == {} and set(asked(gateway, 12)) == set(servers)


def test_kept_connection_that_closes_between_two_checks_is_no_failure(
    serve: Serve, trio: list[Origin]
) -> None:
    def once(call: Call) -> None:
        call.respond(b"ok")
        call.close()

    trio[0].on("/healthz", once)
    gateway = serve(source([trio[0].address], {**QUICK, "fall": 1}))
    trio[0].wait_for("/healthz", 8)
    trio[1].on("/healthz", reply())
    gateway.write(source([trio[1].address], {**QUICK, "fall": 1}))
    assert gateway.ask("reload")["ok"]
    trio[1].wait_for("/healthz", 8)
    kept = {call.connection_number for call in trio[1].at("/healthz")}
    assert len(kept) == 1, "one connection carries them all"
    trio[1].drop_connections()
    trio[1].wait_for("/healthz", 12)
    assert "is down" not in gateway.log()


@pytest.mark.parametrize(
    ("health", "good", "bad"),
    [
        ({"status": 418}, reply(status="418 Teapot"), reply(status="200 OK")),
        ({"status": ["2xx", 404]}, reply(status="404 None"), reply(status="301 Moved")),
        ({"body": "ready"}, reply(b"we are ready"), reply(b"not yet")),
        (
            {"body": "ready"},
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n"),
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nready", then="reset"),
        ),
        (
            {"response_headers": {"X-Role": "primary"}},
            reply(fields=[("x-role", "primary")]),
            reply(fields=[("x-role", "standby")]),
        ),
        (
            {"method": "HEAD"},
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
            raw(b"garbage", then="close"),
        ),
        ({"timeout": "90ms"}, reply(), Call.hang),
    ],
)
def test_what_a_healthy_response_is_can_be_said(
    serve: Serve, trio: list[Origin], health: dict[str, Any], good: Any, bad: Any
) -> None:
    servers = [one.address for one in trio[:2]]
    trio[0].on("/healthz", good)
    trio[1].on("/healthz", bad)
    gateway = serve(source(servers, {**QUICK, **health}))
    wait_for_state(gateway, servers[0], "up")
    wait_for_state(gateway, servers[1], "down")


def test_checks_have_the_host_of_requests_and_may_go_elsewhere(serve: Serve, trio: list[Origin]) -> None:
    plain, named, other = trio
    gateway = serve(
        {
            "upstreams": {
                "plain": {"servers": plain.address, "health": "/healthz"},
                "named": {"servers": named.address, "host": "app.internal", "health": "/named?full=1"},
                "other": {
                    "servers": f"192.0.2.1:{free_port()}",
                    "health": {
                        "path": "/other",
                        "address": "127.0.0.1",
                        "port": int(str(other.address).rpartition(":")[2]),
                        "host": "said.test",
                        "headers": {"X-Token": "abc", "User-Agent": "mine"},
                    },
                },
            },
            "routes": [{"to": "plain"}, {"path": "/n", "to": "named"}, {"path": "/o", "to": "other"}],
        }
    )
    assert plain.wait_for("/healthz").get("host") == plain.address
    call = named.wait_for("/named")
    assert (call.get("host"), call.target) == ("app.internal", "/named?full=1")
    call = other.wait_for("/other")
    assert [call.all(name) for name in ("host", "x-token", "user-agent")] == [
        ["said.test"],
        ["abc"],
        ["mine"],
    ]
    assert gateway.ask()["monitor"]


def test_checks_are_counted_and_rotation_is_seen_without_requests(serve: Serve, trio: list[Origin]) -> None:
    trio[0].on("/healthz", reply(status="500 No"))
    servers = [one.address for one in trio[:2]]
    address = f"127.0.0.1:{free_port()}"
    gateway = serve(source(servers) | {"metrics": {"listen": address}})
    wait_for_state(gateway, servers[0], "down")
    trio[1].wait_for("/healthz", 3)
    found = scrape(gateway, address)
    of_checks = "headgate_health_checks_total"
    assert found.value(of_checks, upstream="u", server=servers[0], outcome="failed") >= 1
    assert found.value(of_checks, upstream="u", server=servers[1], outcome="passed") >= 2
    eventually(
        lambda: scrape(gateway, address).value("headgate_upstream_server_up", server=servers[0]) == 0,
        "the metrics say who is out of rotation",
    )


def test_states_go_on_in_an_upgraded_gateway(serve: Serve, trio: list[Origin]) -> None:
    servers = [one.address for one in trio]
    trio[0].on("/healthz", reply(status="503 Busy"))
    gateway = serve(source(servers, {**QUICK, "rise": 100}))
    wait_for_state(gateway, servers[0], "down")
    trio[0].on("/healthz", reply())
    response = gateway.ask("upgrade")
    assert response["ok"], response
    assert gateway.process.wait(timeout=40) == 0
    try:
        assert set(asked(gateway, 12)) == set(servers[1:])
    finally:
        os.kill(response["pid"], signal.SIGTERM)


def test_servers_with_long_names_are_forgotten_too(serve: Serve, trio: list[Origin]) -> None:
    name, servers = "long-" * 20, [one.address for one in trio]
    trio[0].on("/healthz", reply(status="503 Busy"))

    def named(health: object) -> dict[str, Any]:
        upstream = {"servers": servers, "health": health}
        return {"upstreams": {name: upstream}, "routes": [{"to": name}]}

    gateway = serve(named(QUICK))
    gateway.wait_for_log("the server is down: status 503")
    eventually(lambda: not asked(gateway, 6)[servers[0]], "it is left out")
    gateway.write(named(None))
    assert gateway.ask("reload")["ok"]
    eventually(lambda: asked(gateway, 6)[servers[0]], "nothing is said of it any more")


def test_many_healthy_servers_take_one_line_of_the_status(serve: Serve) -> None:
    with Origin(host="0.0.0.0") as every:
        port = str(every.address).rpartition(":")[2]
        servers = [f"127.0.0.{number}:{port}" for number in range(1, 26)]
        down = f"127.0.0.1:{free_port()}"
        gateway = serve(source([*servers, down], {"type": "tcp", "interval": "1h"}))
        eventually(lambda: len(checks(gateway)) == 26, "all are checked")
        shown = gateway.cli("status").stdout
        assert "25 servers: checks say up" in shown and f"server u {down}: checks say down" in shown
        assert servers[3] not in shown


HOOKS = """
from headgate import Gateway, Plugin, ServerStateChange, Response
gate = Gateway()
gate.listen(LISTEN)
app = gate.upstream("u", SERVER, health={"path": "/healthz", "interval": "100ms", "fall": 1})
gate.route("/", to=app)

class Notes(Plugin):
    async def server_state(self, change):
        with open(FOLDER + "/plugin.txt", "a") as notes:
            notes.write(f"{change.state}\\n")

gate.use(Notes())

@gate.server_state
def fails(change):
    raise RuntimeError("only this hook is harmed")

@gate.server_state
async def note(change: ServerStateChange) -> None:
    with open(FOLDER + "/hook.txt", "a") as notes:
        notes.write(f"{change.upstream} {change.server} {change.state} {change.reason}\\n")
"""


def test_hooks_hear_of_states_in_one_worker(serve: Serve, trio: list[Origin]) -> None:
    server = trio[0].address
    gateway = serve(HOOKS, names={"SERVER": server}, workers=2)
    trio[0].wait_for("/healthz")
    trio[0].on("/healthz", reply(status="503 Busy"))
    gateway.wait_for_log("server_state hook failed")
    assert gateway.cli("server", "u", server, "drain").returncode == 0
    told = [f"u {server} up ", f"u {server} down status 503", f"u {server} drain "]
    hook, plugin = gateway.folder / "hook.txt", gateway.folder / "plugin.txt"
    eventually(
        lambda: hook.exists() and hook.read_text().splitlines() == told, "the hook heard of each, once"
    )
    assert plugin.read_text().split() == ["up", "down", "drain"]


@pytest.mark.parametrize("protocol", ["http1", "h2"])
def test_servers_say_how_much_of_their_weight_they_take(
    serve: Serve, trio: list[Origin], protocol: str
) -> None:
    wants = {"share": "50%"}
    health = {**QUICK, "weight_header": "x-weight"}
    with contextlib.ExitStack() as stack:
        if protocol == "http1":
            one, other = trio[0].address, trio[1].address

            def weighs(call: Call) -> None:
                reply(fields=[("X-Weight", wants["share"])])(call)

            trio[0].on("/healthz", weighs)
        else:

            def responds(stream: Stream) -> None:
                fields = [("x-weight", wants["share"])] if stream.get(":path") == "/healthz" else []
                stream.respond(b'{"origin": "one"}', fields=fields)

            one = stack.enter_context(Http2Server(responds)).address
            other = stack.enter_context(
                Http2Server(lambda stream: stream.respond(b'{"origin": "other"}'))
            ).address
        gateway = serve(source([one, other], health, protocol=protocol), workers=1)
        name = one if protocol == "http1" else "one"

        def weight() -> int | None:
            return next((told["weight"] for told in gateway.ask()["servers"] if told["server"] == one), None)

        eventually(lambda: weight() == 50, "it takes half of its share")
        shares = asked(gateway, 300)
        assert 40 <= shares[name] <= 110, "a quarter to a third, by chance"
        wants["share"] = "nonsense"
        gateway.wait_for_log("the server's weight is 50 %")
        assert weight() == 50, "what is no weight changes nothing"
        wants["share"] = "100"
        eventually(lambda: weight() == 100, "it takes all of it again")
        assert abs(asked(gateway, 20)[name] - 10) <= 2
        wants["share"] = "0"
        eventually(lambda: weight() == 0, "it wants nothing")
        assert asked(gateway, 20)[name] == 0
        gateway.write(source([one, other], QUICK, protocol=protocol))
        assert gateway.ask("reload")["ok"]
        eventually(lambda: weight() in (None, 100), "the setting is gone, and so is the weight")
        assert abs(asked(gateway, 20)[name] - 10) <= 2
