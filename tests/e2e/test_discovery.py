"""Servers that are found by name: a name server of the test's own, real processes, real sockets."""

import contextlib
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve, eventually, fetch, free_port, run_cli
from e2e.kit.metrics import scrape
from e2e.kit.name_server import NameServer
from e2e.kit.traffic import Traffic

NAME = "app.internal"


@pytest.fixture
def dns() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


@pytest.fixture
def trio() -> Iterator[list[Origin]]:
    """Three servers on one port, at 127.0.0.1, .2 and .3."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin(host=f"127.0.0.{n}", port=port)) for n in (1, 2, 3)]


def source(dns: NameServer, server: str, *, resolver: Any = None, **upstream: Any) -> dict[str, Any]:
    return {
        "upstreams": {"u": {"servers": server, **upstream}},
        "routes": [{"to": "u"}],
        "resolver": {
            "servers": dns.address,
            "min_ttl": "50ms",
            "timeout": "500ms",
            "attempts": 1,
            **(resolver or {}),
        },
    }


def port_of(origin: Origin) -> int:
    return int(origin.address.rpartition(":")[2])


def asked(gateway: RunningGateway, count: int = 12) -> Counter[str]:
    """Who responds to so many requests."""
    with gateway.client() as client:
        return Counter(client.get("/who").json()["origin"] for _ in range(count))


def names(gateway: RunningGateway) -> dict[str, Any]:
    # the agent tells them just after the workers are ready
    told = eventually(lambda: gateway.ask()["names"], "names are in the status")
    return {one["name"]: one for one in told}


def test_each_address_of_a_name_is_a_server(serve: Serve, dns: NameServer, trio: list[Origin]) -> None:
    dns.says(NAME, "A", ["127.0.0.1", "127.0.0.2"])
    dns.says(NAME, "AAAA", ["::1"])
    gateway = serve(source(dns, f"{NAME}:{port_of(trio[0])}"))
    assert asked(gateway) == {trio[0].address: 6, trio[1].address: 6}, (
        "from the first request on, no IPv6 among them"
    )
    trio[0].stop()
    assert gateway.get("/who").status == 200
    assert asked(gateway) == {trio[1].address: 12}, "each has a state of its own"


def test_change_of_the_set_fails_no_request_and_closes_what_is_gone(
    serve: Serve, dns: NameServer, trio: list[Origin]
) -> None:
    dns.says(NAME, "A", ["127.0.0.1", "127.0.0.2"])
    gateway = serve(source(dns, f"{NAME}:{port_of(trio[0])}"), workers=2)
    stays, goes, comes = trio[1], trio[0], trio[2]
    asked(gateway)
    with Traffic([gateway], "/who") as traffic:
        eventually(lambda: traffic.succeeded > 20, "requests succeed")
        connections = stays.connection_count
        dns.says(NAME, "A", ["127.0.0.2", "127.0.0.3"])
        eventually(lambda: len(comes.at("/who")) > 10, "the new server gets requests")
        eventually(lambda: not goes.open_connections, "connections to the one that is gone are closed")
    assert not traffic.failures
    assert stays.connection_count <= connections + 1, "who stays keeps its connections"
    assert gateway.ask()["last_reload"] is None, "no code was loaded for it"


def test_name_without_a_ttl_is_not_looked_up_for_each_request(
    serve: Serve, dns: NameServer, trio: list[Origin]
) -> None:
    dns.says(NAME, "A", ["127.0.0.1"])
    dns.ttl = 0
    gateway = serve(source(dns, f"{NAME}:{port_of(trio[0])}", resolver={"min_ttl": "1h"}), workers=2)
    asked(gateway, 300)
    assert dns.queries(NAME) == 1


def test_order_of_records_is_no_change_and_a_cut_response_is_asked_for_by_tcp(
    serve: Serve, dns: NameServer
) -> None:
    port = free_port()
    addresses = [f"127.0.{n // 100}.{n % 100 + 1}" for n in range(300)]
    dns.says(NAME, "A", addresses)
    dns.most_over_udp, dns.is_rotating = 20, True
    gateway = serve(source(dns, f"{NAME}:{port}"))
    eventually(lambda: dns.queries(NAME) > 8, "the name is looked up again and again")
    assert dns.asked[NAME, "A", "tcp"] > 3
    status = gateway.ask()
    assert names(gateway)[f"{NAME}:{port}"] == {"name": f"{NAME}:{port}", "servers": 300, "error": ""}
    assert "servers of the upstream have changed" not in gateway.log()
    assert status["generation"] == gateway.ask()["generation"]


def test_name_that_does_not_resolve_is_a_503_until_it_does(
    serve: Serve, dns: NameServer, trio: list[Origin]
) -> None:
    dns.fails(NAME, "SERVFAIL")
    gateway = serve({**source(dns, f"{NAME}:{port_of(trio[0])}"), "access_log": "json"})
    response = gateway.get("/who")
    assert response.status == 503
    assert gateway.access_record(target="/who")["error"] == "no_server"
    assert gateway.log().count("the name does not resolve") == 1
    key = f"{NAME}:{port_of(trio[0])}"
    assert names(gateway)[key]["servers"] == 0 and "SERVFAIL" in names(gateway)[key]["error"]
    told = gateway.cli("status").stdout
    assert f"name {key}: 0 servers, the last lookup failed: name server {dns.address}: SERVFAIL" in told
    dns.says(NAME, "A", ["127.0.0.1"])
    eventually(lambda: gateway.get("/who").status == 200, "the name resolves now")
    gateway.wait_for_log("the name resolves again")


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED", "silence"])
def test_failures_keep_the_last_set(serve: Serve, dns: NameServer, trio: list[Origin], code: str) -> None:
    dns.says(NAME, "A", ["127.0.0.1"])
    gateway = serve(source(dns, f"{NAME}:{port_of(trio[0])}"))
    key = f"{NAME}:{port_of(trio[0])}"
    with Traffic([gateway], "/who") as traffic:
        dns.fails(NAME, code)
        eventually(lambda: names(gateway)[key]["error"], "a lookup has failed")
        failed = dns.queries(NAME)
        eventually(lambda: dns.queries(NAME) > failed, "it is tried again")
        dns.says(NAME, "A", ["127.0.0.2"])
        eventually(lambda: trio[1].at("/who"), "the new set is used")
    assert not traffic.failures


def test_no_such_name_three_times_in_a_row_removes(serve: Serve, dns: NameServer, trio: list[Origin]) -> None:
    dns.soa_minimum = 0
    dns.says(NAME, "A", ["127.0.0.1"])
    gateway = serve(source(dns, f"{NAME}:{port_of(trio[0])}"))
    before = dns.queries(NAME)
    dns.fails(NAME, "NXDOMAIN")
    eventually(lambda: dns.queries(NAME) > before, "it is looked up again")
    assert gateway.get("/who").status == 200, "one such response is not believed"
    eventually(lambda: gateway.get("/who").status == 503, "three of them are", within=20)


@pytest.mark.parametrize("fault", ["no such name", "nothing", "cut over udp and mute over tcp"])
def test_faults_that_pass_cost_no_request_and_the_next_good_response_is_used(
    serve: Serve, dns: NameServer, trio: list[Origin], fault: str
) -> None:
    dns.soa_minimum = 4  # a negative response holds for that long, in seconds
    dns.says(NAME, "A", ["127.0.0.1"])
    key = f"{NAME}:{port_of(trio[0])}"
    gateway = serve(source(dns, key))
    eventually(lambda: names(gateway)[key]["servers"] == 1, "it is found")
    with Traffic([gateway], "/who") as traffic:
        before = dns.queries(NAME)
        if fault == "no such name":
            dns.fails(NAME, "NXDOMAIN")
        elif fault == "nothing":
            dns.says(NAME, "A", [])
        else:
            dns.most_over_udp, dns.is_mute_over_tcp = 0, True
        eventually(lambda: names(gateway)[key]["error"], "the fault is told")
        assert dns.queries(NAME) - before <= 3, "who has nothing to say is not asked at each `min_ttl`"
        dns.most_over_udp, dns.is_mute_over_tcp = None, False
        dns.says(NAME, "A", ["127.0.0.2"])
        eventually(lambda: trio[1].at("/who"), "the next response is used", within=20)
        eventually(lambda: not names(gateway)[key]["error"], "the fault is over")
    assert not traffic.failures
    assert trio[0].at("/who"), "until then the last set was"


def test_name_that_has_nothing_for_a_while_comes_back_by_itself(
    serve: Serve, dns: NameServer, trio: list[Origin]
) -> None:
    dns.soa_minimum = 0
    dns.says(NAME, "A", ["127.0.0.1"])
    gateway = serve(source(dns, f"{NAME}:{port_of(trio[0])}"))
    assert gateway.get("/who").status == 200
    dns.says(NAME, "A", [])
    eventually(lambda: gateway.get("/who").status == 503, "three such responses are believed", within=20)
    dns.says(NAME, "A", ["127.0.0.2", "127.0.0.3"])
    eventually(lambda: gateway.get("/who").status == 200, "the name has addresses again", within=20)
    assert asked(gateway) == {trio[1].address: 6, trio[2].address: 6}


def test_nodata_ends_the_search(serve: Serve, dns: NameServer, trio: list[Origin]) -> None:
    """A wildcard of a domain of the search list never stands in for a name that is there."""
    dns.says("app", "TXT", ["here"])
    dns.says("app.corp.test", "A", ["127.0.0.2"])
    gateway = serve(source(dns, f"app:{port_of(trio[0])}", resolver={"search": ["corp.test"], "ndots": 0}))
    assert gateway.get("/who").status == 503
    assert not dns.queries("app.corp.test")


def test_short_name_is_looked_up_in_the_search_list(
    serve: Serve, dns: NameServer, trio: list[Origin]
) -> None:
    dns.says("app.two.test", "A", ["127.0.0.2"])
    gateway = serve(source(dns, f"app:{port_of(trio[0])}", resolver={"search": ["one.test", "two.test"]}))
    assert set(asked(gateway)) == {trio[1].address}
    assert not dns.queries("app")


def test_agent_that_is_killed_costs_no_request_and_the_next_goes_on(
    serve: Serve, dns: NameServer, trio: list[Origin]
) -> None:
    dns.says(NAME, "A", ["127.0.0.1"])
    gateway = serve(source(dns, f"{NAME}:{port_of(trio[0])}"))
    with Traffic([gateway], "/who") as traffic:
        agent = gateway.ask()["agent"]
        dns.fails(NAME)
        os.kill(agent, signal.SIGKILL)
        eventually(lambda: gateway.ask()["agent"] not in (None, agent), "there is another agent")
    worker = gateway.workers[0]
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: gateway.workers not in ([], [worker]), "there is another worker")
    assert set(asked(gateway)) == {trio[0].address}, "it is lent what was found before"
    with Traffic([gateway], "/who") as later:
        dns.says(NAME, "A", ["127.0.0.3"])
        eventually(lambda: trio[2].at("/who"), "the new agent looks names up", within=20)
    assert not traffic.failures + later.failures


def test_reload_keeps_what_was_found(serve: Serve, dns: NameServer, trio: list[Origin]) -> None:
    dns.says(NAME, "A", ["127.0.0.1", "127.0.0.2"])
    gateway = serve(source(dns, f"{NAME}:{port_of(trio[0])}"))
    asked(gateway)
    connections = trio[0].connection_count
    dns.fails(NAME)
    gateway.write(source(dns, f"{NAME}:{port_of(trio[0])}", timeouts={"connect": "3s"}))
    assert gateway.ask("reload")["in_place"]
    assert asked(gateway) == {trio[0].address: 6, trio[1].address: 6}
    assert trio[0].connection_count == connections


def test_hooks_and_metrics_hear_of_servers_that_come_and_go(
    serve: Serve, dns: NameServer, trio: list[Origin]
) -> None:
    port = port_of(trio[0])
    dns.says(NAME, "A", ["127.0.0.1"])
    at = f"127.0.0.1:{free_port()}"
    gateway = serve(
        """
import logging
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
gate.metrics(AT)
gate.resolver(servers=DNS, min_ttl="50ms")
gate.route("/*", to=gate.upstream("u", SERVER))

@gate.server_state
def heard(change):
    logging.getLogger("test").warning("heard %s %s %s", change.upstream, change.server, change.state)
""",
        names={"AT": at, "DNS": dns.address, "SERVER": f"{NAME}:{port}"},
    )
    dns.says(NAME, "A", ["127.0.0.2", "127.0.0.3"])
    gateway.wait_for_log(f"heard u 127.0.0.3:{port} added")
    gateway.wait_for_log(f"heard u 127.0.0.1:{port} removed")
    eventually(
        lambda: scrape(gateway, at).value("headgate_upstream_servers", upstream="u") == 2, "the gauge says 2"
    )
    assert scrape(gateway, at).value("headgate_discovery_lookups_total", name=NAME, outcome="found") >= 2


def test_certificate_and_host_are_of_the_name(serve: Serve, dns: NameServer, authority: Any) -> None:
    dns.says(NAME, "A", ["127.0.0.1"])
    with Origin(tls=authority.server(authority.issue(NAME))) as origin:
        server = f"https://{NAME}:{port_of(origin)}"
        gateway = serve(
            source(
                dns,
                server,
                tls={"ca": str(authority.ca)},
                host="server",
                health={"path": "/healthz", "interval": "1s"},
            )
        )
        assert gateway.get("/who").status == 200
        assert origin.at("/who")[-1].get("host") == f"{NAME}:{port_of(origin)}"
        check = origin.wait_for("/healthz")
        assert check.get("host") == f"{NAME}:{port_of(origin)}"
        assert not origin.handshake_errors


def test_name_that_is_not_to_be_resolved_is_one_server(
    serve: Serve, dns: NameServer, trio: list[Origin]
) -> None:
    port = port_of(trio[0])
    gateway = serve(source(dns, f"localhost:{port}"))
    assert set(asked(gateway)) == {trio[0].address}
    assert gateway.ask()["agent"] is None, "workers know where localhost is"
    gateway.write(source(dns, f"{NAME}:{port} resolve=false"))
    assert gateway.ask("reload")["ok"]
    assert not dns.queries(NAME)


def test_service_has_priorities_weights_and_ports(serve: Serve, dns: NameServer) -> None:
    service = "_http._tcp.app.internal"
    with Origin() as heavy, Origin() as light, Origin() as backup:
        for name in ("heavy", "light", "backup"):
            dns.says(f"{name}.app.internal", "A", ["127.0.0.1"])
        dns.says(
            service,
            "SRV",
            [
                f"10 60 {port_of(heavy)} heavy.app.internal.",
                f"10 20 {port_of(light)} light.app.internal.",
                f"20 0 {port_of(backup)} backup.app.internal.",
            ],
        )
        gateway = serve(source(dns, f"srv:{service}", retries=2))
        assert asked(gateway) == {heavy.address: 9, light.address: 3}
        heavy.stop()
        light.stop()
        assert gateway.get("/who").status == 200
        assert set(asked(gateway)) == {backup.address}, "the next priority, while none of the first is left"
        dns.soa_minimum = 0
        dns.says(service, "SRV", ["0 0 0 ."])
        eventually(lambda: gateway.get("/who").status == 503, "the service is decidedly absent")


LISTED = """
import asyncio
from pathlib import Path
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
said = Path(FOLDER) / "said.txt"

@gate.discover("u", every="50ms", retries=1)
async def find():
    text = said.read_text()
    if text == "broken":
        raise RuntimeError("the source is away")
    return text.split()

gate.route("/*", to="u")
"""


def test_function_says_the_servers_and_its_failures_keep_the_last_list(
    serve: Serve, trio: list[Origin]
) -> None:
    one, other, _ = trio
    gateway = serve(LISTED, files={"said.txt": one.address})
    said = gateway.folder / "said.txt"
    with Traffic([gateway], "/who") as traffic:
        eventually(lambda: one.at("/who"), "the first list is used")
        for text, reason in [
            ("broken", "RuntimeError: the source is away"),
            ("nowhere", "`nowhere` is not a server's address"),
        ]:
            said.write_text(text)
            gateway.wait_for_log(f"the list of servers is not usable, its known servers are used: .*{reason}")
            said.write_text(other.address if text == "broken" else one.address)
            gateway.wait_for_log("the list of servers is good again")
        eventually(lambda: other.at("/who"), "the next list is used")
    assert not traffic.failures
    assert "find" in gateway.log(), "there is a traceback"
    said.write_text("")
    eventually(lambda: gateway.get("/who").status == 503, "nothing is believed at the third time", within=20)
    assert names(gateway)["discover:u"]["servers"] == 0


def test_generator_says_whenever_there_is_another_list(serve: Serve, trio: list[Origin]) -> None:
    one, other, _ = trio
    gateway = serve(
        """
import asyncio
from pathlib import Path
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)

@gate.discover("u")
async def find():
    yield [ONE]
    while not (Path(FOLDER) / "next").exists():
        await asyncio.sleep(0.01)
    yield [{"address": OTHER, "weight": 2}]
    await asyncio.Event().wait()

gate.route("/*", to="u")
""",
        names={"ONE": one.address, "OTHER": other.address},
    )
    assert set(asked(gateway)) == {one.address}
    (gateway.folder / "next").touch()
    eventually(lambda: gateway.get("/who").json()["origin"] == other.address, "the next list is used")


def test_file_lists_servers_and_is_watched(
    serve: Serve, dns: NameServer, trio: list[Origin], tmp_path: Path
) -> None:
    one, other, third = trio
    file, staged = tmp_path / "servers.txt", tmp_path / "staged"
    file.write_text(f"# those of today\n{one.address} weight=2  # large\n\n{other.address}\n")
    gateway = serve(source(dns, f"file:{file}"))
    assert asked(gateway) == {one.address: 8, other.address: 4}
    file.write_text(f"{third.address}\nnowhere\n")
    gateway.wait_for_log(f"{file}:2: .*`nowhere` is not a server's address")
    assert asked(gateway) == {one.address: 8, other.address: 4}, "all of it counts, or nothing"
    staged.write_text(third.address)
    staged.replace(file)
    eventually(lambda: set(asked(gateway)) == {third.address}, "it is read again")
    file.write_text("# nobody\n")
    eventually(lambda: gateway.get("/who").status == 503, "an empty file is the operator's word")
    gateway.write({**source(dns, f"file:{file}"), "upstreams": {"u": "discover:u"}})
    refused = gateway.cli("check", str(gateway.file))
    assert refused.returncode == 2 and "no function says the servers of the upstream `u`" in refused.stderr


def test_what_is_under_way_at_a_server_that_is_gone_is_finished(
    serve: Serve, dns: NameServer, trio: list[Origin]
) -> None:
    dns.says(NAME, "A", ["127.0.0.1"])
    gateway = serve(source(dns, f"{NAME}:{port_of(trio[0])}"))
    may_end = threading.Event()

    def slowly(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        may_end.wait(30)
        call.send(b"done")

    trio[0].on("/slow", slowly)
    with gateway.client(timeout=30) as client:
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        trio[0].wait_for("/slow")
        dns.says(NAME, "A", ["127.0.0.2"])
        eventually(lambda: trio[1].at("/who") or not gateway.get("/who"), "the server is gone")
        may_end.set()
        assert client.response().body == b"halfdone"
    eventually(lambda: not trio[0].open_connections, "its connection is not kept")


def test_name_that_leads_to_the_admin_api_is_not_used(serve: Serve, dns: NameServer) -> None:
    admin = free_port()
    dns.says(NAME, "A", ["127.0.0.1"])
    gateway = serve(
        {
            **source(dns, f"{NAME}:{admin}"),
            "admin": {"listen": f"127.0.0.1:{admin}", "tokens": [{"token": "a-token-that-is-long-enough"}]},
            "state_folder": "state",
        }
    )
    assert gateway.get("/v1/routes").status == 503
    gateway.wait_for_log("a server that was found is the Admin API")


def test_proxy_command_says_that_a_service_needs_a_file() -> None:
    ended = run_cli("proxy", ":0", "--to", "srv:_http._tcp.app.internal", cwd=Path("/"))
    assert ended.returncode == 2
    assert "error: `srv:_http._tcp.app.internal` needs a configuration file" in ended.stderr


def test_strict_check_looks_names_up_as_the_gateway_does(dns: NameServer, tmp_path: Path) -> None:
    dns.says(NAME, "A", ["127.0.0.1"])
    dns.says("_http._tcp.app.internal", "SRV", ["0 0 80 app.internal."])
    file = tmp_path / "gate.json"
    content = {
        **source(dns, f"{NAME}:80"),
        "listeners": ":0",
        "routes": [{"path": "/a/*", "to": "u"}, {"path": "/b/*", "to": "srv:_http._tcp.app.internal"}],
    }
    file.write_text(json.dumps(content))
    assert run_cli("check", "--strict", str(file), cwd=tmp_path).returncode == 0
    dns.fails(NAME, "NXDOMAIN")
    dns.fails("_http._tcp.app.internal", "SERVFAIL")
    refused = run_cli("check", "--strict", str(file), cwd=tmp_path)
    assert refused.returncode == 2
    assert f"`{NAME}` of the upstream `u` does not resolve" in refused.stderr
    assert "there is no such name" in refused.stderr and "SERVFAIL" in refused.stderr.upper()


def test_connections_of_tcp_follow_the_name_too(serve: Serve, dns: NameServer, trio: list[Origin]) -> None:
    dns.says(NAME, "A", ["127.0.0.1"])
    listen = f"127.0.0.1:{free_port()}"
    gateway = serve({**source(dns, f"{NAME}:{port_of(trio[0])}"), "tcp": {"address": listen, "to": "u"}})
    assert fetch(listen, "/who").json()["origin"] == trio[0].address
    dns.says(NAME, "A", ["127.0.0.2"])
    eventually(lambda: fetch(listen, "/who").json()["origin"] == trio[1].address, "new connections go there")
    assert gateway.get("/who").json()["origin"] == trio[1].address


def test_documents_name_a_function_of_a_module_beside_them(
    serve: Serve, dns: NameServer, trio: list[Origin]
) -> None:
    module = "def find():\n    return [{'address': ADDRESS, 'max_connections': 9}]\n"
    address = f"ADDRESS = {trio[1].address!r}\n"
    gateway = serve(source(dns, "discover:my_servers:find"), files={"my_servers.py": address + module})
    assert set(asked(gateway)) == {trio[1].address}
    (gateway.folder / "my_servers.py").write_text(f"ADDRESS = {trio[2].address!r}\n{module}")
    assert gateway.ask("reload")["ok"]
    eventually(lambda: set(asked(gateway)) == {trio[2].address}, "a reload takes the new code", within=30)
    gateway.write(source(dns, "discover:my_servers:missing"))
    assert gateway.ask("reload")["ok"]
    gateway.wait_for_log("the list of servers is not usable.*`my_servers:missing`: AttributeError")
