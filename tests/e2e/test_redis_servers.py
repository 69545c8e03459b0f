"""The engine's Redis client against real servers that restart, speak TLS, fail over, or are a cluster."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from e2e.kit import RawClient, RunningGateway, Serve, eventually
from e2e.kit.net import free_port
from e2e.kit.pki import Authority
from e2e.kit.redis_servers import Server, Start, cluster, redis_servers

GATE = """
from headgate import Gateway, Redis, RedisError, Response

gate = Gateway()
gate.listen(LISTEN)
store = Redis(URL, timeout=5.0, decode_responses=True, **OPTIONS)

@gate.route("/incr/{key}")
async def count(request):
    try:
        return Response.text(str(await store.incr(request.params["key"])))
    except RedisError as error:
        return Response.text(f"{type(error).__name__}: {error}")

@gate.route("/get/{key}")
async def get(request):
    return Response.text(str(await store.get(request.params["key"])))

@gate.route("/eval/{key}")
async def evaluate(request):
    return Response.text(str(await store.eval("return redis.call('INCR', KEYS[1])", keys=[request.params["key"]])))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with redis_servers(tmp_path) as start:
        yield start


def served(serve: Serve, url: str, **options: object) -> RunningGateway:
    return serve(GATE, names={"URL": url, "OPTIONS": options})


def test_no_command_is_lost_to_a_restart_or_a_closed_connection(serve: Serve, start: Start) -> None:
    server = start("--appendonly", "no")
    gateway = served(serve, f"redis://127.0.0.1:{server.port}")
    assert gateway.get("/incr/a").text == "1"
    for expected in ("1", "1", "1"):
        server.stop()
        server.start()
        assert gateway.get("/incr/a").text == expected
    with server.client() as other:
        for expected in ("2", "3", "4", "5", "6"):
            other.execute_command("CLIENT", "KILL", "TYPE", "normal")
            assert gateway.get("/incr/a").text == expected
            assert gateway.get("/get/a").text == expected
        other.execute_command("SCRIPT", "FLUSH")
    assert [gateway.get("/eval/a").text for _ in range(2)] == ["7", "8"]


def test_a_server_of_the_list_that_is_dead_is_skipped(serve: Serve, start: Start) -> None:
    first, second = start(), start()
    first.stop()
    gateway = served(serve, f"redis://127.0.0.1:{first.port},127.0.0.1:{second.port}/1")
    assert gateway.get("/incr/a").text == "1"
    with redis.Redis(port=second.port, db=1) as other:
        assert other.get("a") == b"1"
    # the one in use dies, the other one is there again
    first.start()
    second.stop()
    assert gateway.get("/incr/a").text == "1"


def test_tls_verifies_both_sides(serve: Serve, start: Start, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own, client = authority.issue("localhost"), authority.issue("gateway", for_client=True)
    port = free_port()
    start(
        "--port", "0", "--tls-port", str(port), "--tls-cert-file", own.chain, "--tls-key-file", own.key,
        "--tls-ca-cert-file", authority.ca, "--tls-auth-clients", "yes",
        port=port, listens=False,
    )  # fmt: skip
    url = f"rediss://localhost:{port}"
    shown = client.files
    assert served(serve, url, ca=authority.ca, **shown).get("/incr/a").text == "1"
    assert served(serve, url, insecure=True, **shown).get("/incr/a").text == "2"
    # no certificate of ours; an authority that nobody knows
    wants = f"the connection to Redis at `localhost:{port}` broke"
    unknown = f"no TLS session with Redis at `localhost:{port}`: its certificate is from no authority that is trusted"
    for options, said in (({"ca": authority.ca}, wants), (shown, unknown)):
        assert served(serve, url, **options).get("/incr/a").text == f"RedisConnectionError: {said}"


def test_sentinel_tells_the_primary_also_after_a_failover(serve: Serve, start: Start, tmp_path: Path) -> None:
    primary = start()
    replica = start("--replicaof", "127.0.0.1", str(primary.port))
    file = tmp_path / "sentinel.conf"
    file.write_text(
        f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
        "sentinel down-after-milliseconds main 60000\nsentinel failover-timeout main 20000\n"
    )
    sentinel = start(str(file), "--sentinel")
    dead = free_port()
    gateway = served(serve, f"redis+sentinel://127.0.0.1:{dead},127.0.0.1:{sentinel.port}/main")
    assert gateway.get("/incr/a").text == "1"
    with replica.client() as other, sentinel.client() as watcher:
        eventually(lambda: other.get("a") == "1", "the replica has it", within=30)
        eventually(
            lambda: watcher.execute_command("SENTINEL", "SLAVES", "main"), "the replica is known", within=30
        )
        assert watcher.execute_command("SENTINEL", "FAILOVER", "main")
        eventually(lambda: other.execute_command("ROLE")[0] == "master", "it is the primary", within=60)
        with primary.client() as former:
            eventually(
                lambda: former.execute_command("ROLE")[0] == "slave", "the former one is none", within=60
            )
        assert gateway.get("/incr/a").text == "2"
        assert other.get("a") == "2"


def test_keys_of_other_nodes_outlive_the_one_that_the_url_names(serve: Serve, start: Start) -> None:
    nodes = cluster(start)
    gateway = served(serve, f"redis+cluster://127.0.0.1:{nodes[0].port}")
    keys = [f"key{number}" for number in range(30)]
    assert {gateway.get(f"/incr/{key}").text for key in keys} == {"1"}
    with nodes[0].client() as client:
        lost = [key for key in keys if _serves(client, key)]
    nodes[0].stop()
    assert 0 < len(lost) < len(keys)
    for key in keys:
        text = gateway.get(f"/incr/{key}").text
        assert "RedisConnectionError" in text if key in lost else text == "2", (key, text)


def test_commands_at_once_all_follow_a_slot_on_its_way(serve: Serve, start: Start) -> None:
    nodes = cluster(start)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(node.client()) for node in nodes]
        slot = clients[0].execute_command("CLUSTER", "KEYSLOT", "moves")
        owner = next(n for n, one in enumerate(clients) if _serves(one, "moves"))
        source, target = clients[owner], clients[(owner + 1) % 3]
        ids = [one.execute_command("CLUSTER", "MYID") for one in (source, target)]
        target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
    gateway = served(serve, f"redis+cluster://127.0.0.1:{nodes[0].port}")
    with ThreadPoolExecutor(32) as threads:
        texts = list(threads.map(lambda _: gateway.get("/incr/moves").text, range(300)))
    assert sorted(texts, key=lambda text: text.zfill(4)) == [str(n) for n in range(1, 301)]


def test_each_key_goes_to_its_node_of_a_cluster(serve: Serve, start: Start) -> None:
    nodes = cluster(start)
    clients = [node.client() for node in nodes]
    gateway = served(serve, f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{nodes[0].port}")
    keys = [f"key{number}" for number in range(30)]
    assert {gateway.get(f"/incr/{key}").text for key in keys} == {"1"}
    assert all(one.execute_command("DBSIZE") > 0 for one in clients)
    assert gateway.get("/eval/key0").text == "2"
    # a slot moves to another node: the old one says so, and nothing is lost
    slot = clients[0].execute_command("CLUSTER", "KEYSLOT", "moves")
    ids = [one.execute_command("CLUSTER", "MYID") for one in clients]
    owner = next(n for n, one in enumerate(clients) if _serves(one, "moves"))
    target = (owner + 1) % 3
    for n in (target, owner, (owner + 2) % 3):
        clients[n].execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
    assert gateway.get("/incr/moves").text == "1"
    assert clients[target].get("moves") == "1"
    for one in clients:
        one.close()


def limited(serve: Serve, url: str, **config: object) -> RunningGateway:
    # not on the requests by which the kit finds out whether it is up
    use = {"plugin": "rate-limit", "on": "/limited", "config": {"redis": url, "redis_timeout": 5, **config}}
    return serve({"routes": [{"path": "/", "respond": "in"}], "plugins": [use]}, workers=1)


def statuses(gateways: list[RunningGateway], each: int) -> list[int]:
    """What many clients get that ask at once, each on a connection of its own."""

    def ask(gateway: RunningGateway) -> list[int]:
        with RawClient(gateway.address) as client:
            return [client.get("/limited").status for _ in range(each)]

    with ThreadPoolExecutor(8) as pool:
        return [status for one in pool.map(ask, gateways * 4) for status in one]


def scripts_run(servers: list[Server]) -> int:
    """How many scripts the servers have run, as they count themselves."""
    total = 0
    for server in servers:
        with server.client() as client:
            found = client.info("commandstats")
            total += sum(found.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))
    return total


def test_a_rate_of_all_nodes_holds_on_a_cluster(serve: Serve, start: Start) -> None:
    url = f"redis+cluster://127.0.0.1:{cluster(start)[0].port}"
    gateways = [limited(serve, url, rate="40/h", batch=0) for _ in range(2)]
    assert sorted(statuses(gateways, 10)) == [200] * 40 + [429] * 40


def test_a_busy_rate_costs_a_cluster_few_commands(serve: Serve, start: Start) -> None:
    nodes = cluster(start)
    gateway = limited(serve, f"redis+cluster://127.0.0.1:{nodes[0].port}", rate="100000/s")
    before = scripts_run(nodes)
    assert set(statuses([gateway], 500)) == {200}
    assert scripts_run(nodes) - before <= 0.3 * 2000


def _serves(client: "redis.Redis[str]", key: str) -> bool:
    try:
        client.get(key)
    except redis.ResponseError:
        return False
    return True
