"""Servers that are ejected as outliers, drained by command, or start slowly."""

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually, free_port
from e2e.kit.behaviours import reply


@pytest.fixture
def trio() -> Iterator[list[Origin]]:
    """Three servers."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin()) for _ in range(3)]


def balanced(serve: Serve, servers: list[str], *, workers: int = 1, **upstream: object) -> RunningGateway:
    source = {"upstreams": {"u": {"servers": servers, **upstream}}, "routes": [{"to": "u"}]}
    return serve(source, workers=workers)


def asked(gateway: RunningGateway, count: int) -> Counter[str]:
    """Who responds to so many requests."""
    with gateway.client() as client:
        return Counter(client.get("/who").json()["origin"] for _ in range(count))


def statuses(gateway: RunningGateway, count: int, target: str = "/work") -> Counter[int]:
    """The statuses of so many responses."""
    with gateway.client() as client:
        return Counter(client.get(target).status for _ in range(count))


def standing(gateway: RunningGateway) -> dict[str, dict[str, object]]:
    """What is said of servers, by address."""
    return {one["server"]: one for one in gateway.ask()["servers"]}


def failing(origin: Origin, status: str) -> None:
    """`/work` fails at this server."""
    origin.on("/work", reply(b"no", status=status))


def test_server_that_fails_in_a_row_is_ejected_and_comes_back(serve: Serve, trio: list[Origin]) -> None:
    servers = [one.address for one in trio]
    gateway = balanced(serve, servers, outlier={"consecutive": 3, "ejection": "2s"})
    failing(trio[0], "503 Busy")
    for one in trio[1:]:
        one.on("/work", reply(b"yes"))
    assert statuses(gateway, 60)[503] == 3
    assert set(asked(gateway, 12)) == set(servers[1:])
    told = standing(gateway)
    assert list(told) == [servers[0]] and 0 < int(str(told[servers[0]]["ejected_ms"])) <= 2000
    assert f"server u {servers[0]}: ejected for" in gateway.cli("status").stdout
    assert gateway.counter("upstream_ejections") == 1
    eventually(lambda: asked(gateway, 6)[servers[0]], "it is asked again", within=10)


def test_ejection_holds_in_all_workers_and_after_a_reload(serve: Serve, trio: list[Origin]) -> None:
    servers = [one.address for one in trio]
    gateway = balanced(serve, servers, workers=2, outlier={"consecutive": 2, "ejection": "10m"})
    failing(trio[0], "503 Busy")
    for one in trio[1:]:
        one.on("/work", reply(b"yes"))
    for _ in range(6):
        statuses(gateway, 12)
    before = len(trio[0].at("/work"))
    assert before <= 3, "one worker finds out, both act on it"
    assert gateway.ask("reload")["ok"]
    for _ in range(6):
        statuses(gateway, 12)
    assert len(trio[0].at("/work")) == before


@pytest.mark.parametrize(("share", "ejected"), [("0%", 0), ("50%", 1), ("100%", 2)])
def test_no_more_than_the_most_are_ejected(
    serve: Serve, trio: list[Origin], share: str, ejected: int
) -> None:
    servers = [one.address for one in trio[:2]]
    gateway = balanced(serve, servers, outlier={"consecutive": 1, "max_ejected": share})
    for one in trio[:2]:
        failing(one, "503 Busy")
    assert statuses(gateway, 10) == {503: 10}, "all are asked before nobody is"
    assert len(standing(gateway)) == ejected


@pytest.mark.parametrize(
    ("failures", "status", "is_ejected"),
    [(["5xx"], "500 Broken", True), ([503], "500 Broken", False), (["connect"], "503 Busy", False)],
)
def test_what_counts_as_a_failure_is_configured(
    serve: Serve, trio: list[Origin], failures: list[object], status: str, is_ejected: bool
) -> None:
    servers = [one.address for one in trio]
    gateway = balanced(serve, servers, outlier={"consecutive": 2, "failures": failures})
    failing(trio[0], status)
    for one in trio[1:]:
        one.on("/work", reply(b"yes"))
    statuses(gateway, 12)
    assert (servers[0] in standing(gateway)) == is_ejected


def test_refused_connections_eject(serve: Serve, trio: list[Origin]) -> None:
    dead = f"127.0.0.1:{free_port()}"
    rule = {"consecutive": 2, "ejection": "1h", "max_ejection": "1m"}
    gateway = balanced(serve, [trio[0].address, trio[1].address, dead], outlier=rule)
    assert statuses(gateway, 12, "/who") == {200: 12}
    assert list(standing(gateway)) == [dead]
    assert int(str(standing(gateway)[dead]["ejected_ms"])) <= 60_000


@pytest.mark.parametrize(
    ("outlier", "slow"), [({"error_rate": "40%"}, False), ({"latency": 3}, True)], ids=["errors", "latency"]
)
def test_outlier_within_an_interval_is_ejected(
    serve: Serve, trio: list[Origin], outlier: dict[str, object], slow: bool
) -> None:
    servers = [one.address for one in trio]
    rule = {"consecutive": 0, "interval": "300ms", "min_requests": 3, **outlier}
    gateway = balanced(serve, servers, outlier=rule)
    if slow:
        trio[0].on("/work", slowly)
    else:
        failing(trio[0], "503 Busy")
    for one in trio[1:]:
        one.on("/work", reply(b"yes"))

    def is_ejected() -> bool:
        statuses(gateway, 15)
        return list(standing(gateway)) == [servers[0]]

    eventually(is_ejected, "it is ejected", within=20)


def slowly(call: object) -> None:
    """Responds after 60 ms: the others take a few."""
    import time

    time.sleep(0.06)
    reply(b"late")(call)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", ["drain", "maintenance"])
def test_server_taken_out_by_command_stays_out_over_reloads(
    serve: Serve, trio: list[Origin], state: str
) -> None:
    servers = [one.address for one in trio]
    gateway = balanced(serve, servers)
    done = gateway.cli("server", "u", servers[1], state)
    assert done.returncode == 0 and f"{servers[1]}: {state}" in done.stderr
    assert set(asked(gateway, 12)) == {servers[0], servers[2]}
    assert standing(gateway)[servers[1]]["admin"] == state
    assert f"server u {servers[1]}: {state}" in gateway.cli("status").stdout
    assert gateway.cli("reload").returncode == 0
    assert set(asked(gateway, 12)) == {servers[0], servers[2]}
    assert gateway.cli("server", "u", servers[1], "ready").returncode == 0
    assert set(asked(gateway, 12)) == set(servers)
    assert standing(gateway) == {}


def test_server_taken_out_by_command_stays_out_over_an_upgrade(serve: Serve, trio: list[Origin]) -> None:
    servers = [one.address for one in trio]
    gateway = balanced(serve, servers)
    gateway.cli("server", "u", servers[1], "drain")
    response = gateway.ask("upgrade")
    assert response["ok"], response
    assert gateway.process.wait(timeout=40) == 0
    try:
        assert set(asked(gateway, 12)) == {servers[0], servers[2]}
    finally:
        os.kill(response["pid"], signal.SIGTERM)


def test_all_servers_taken_out_is_503(serve: Serve, trio: list[Origin]) -> None:
    gateway = balanced(serve, [trio[0].address])
    gateway.cli("server", "u", trio[0].address, "maintenance")
    assert gateway.get("/who").status == 503


def test_panic_threshold_asks_all_again(serve: Serve, trio: list[Origin]) -> None:
    servers = [one.address for one in trio]
    for threshold, expected in (("50%", servers), ("10%", servers[2:])):
        gateway = balanced(
            serve, servers, panic_threshold=threshold, outlier={"consecutive": 1, "max_ejected": "100%"}
        )
        for one in trio[:2]:
            failing(one, "503 Busy")
        trio[2].on("/work", reply(b"yes"))
        statuses(gateway, 9)
        assert len(standing(gateway)) == 2
        assert set(asked(gateway, 12)) == set(expected)


def test_server_that_comes_back_starts_slowly(serve: Serve, trio: list[Origin]) -> None:
    servers = [one.address for one in trio]
    gateway = balanced(serve, servers, slow_start="10m")
    gateway.cli("server", "u", servers[0], "drain")
    assert asked(gateway, 30)[servers[0]] == 0
    gateway.cli("server", "u", servers[0], "ready")
    shares = asked(gateway, 300)
    assert shares[servers[0]] < 40, "a tenth of its share at first"


HOOKS = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
gate.route("/", to=gate.upstream("u", *SERVERS, outlier={"consecutive": 1, "ejection": "2500ms"}))

@gate.server_state
def note(change):
    with open(FOLDER + "/hook.txt", "a") as notes:
        notes.write(f"{change.upstream} {change.server} {change.state} {change.reason}\\n")
"""


def test_hooks_hear_of_ejections_and_recoveries_in_one_worker(serve: Serve, trio: list[Origin]) -> None:
    servers = [one.address for one in trio]
    gateway = serve(HOOKS, names={"SERVERS": servers}, workers=2)
    failing(trio[0], "503 Busy")
    for one in trio[1:]:
        one.on("/work", reply(b"yes"))
    eventually(lambda: statuses(gateway, 6)[503], "the server was asked")
    told = [f"u {servers[0]} ejected it is an outlier", f"u {servers[0]} recovered "]
    notes = gateway.folder / "hook.txt"
    eventually(
        lambda: notes.exists() and notes.read_text().splitlines() == told, "the hook heard of both, once"
    )
