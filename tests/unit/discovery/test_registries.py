"""Registries: what is asked, what is believed, and what becomes of lists that break off or are empty."""

import asyncio
import json
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit.name_server import NameServer
from e2e.kit.pki import Authority
from e2e.kit.registry import Asked, Registry

from headgate.config.errors import ConfigError
from headgate.config.registries import KubernetesConfig, Registered, parse_registered
from headgate.config.resolver import ResolverConfig
from headgate.discovery.outcomes import Failed, Outcome, Resolved
from headgate.discovery.registries import kubernetes
from headgate.discovery.registries.asking import registered
from headgate.discovery.registries.calls import RegistryFailed
from headgate.discovery.registries.consul import next_index
from headgate.discovery.registries.docker import servers_in as docker_servers
from headgate.discovery.registries.kubernetes import Cluster as ApiServer
from headgate.discovery.registries.kubernetes import servers_of
from headgate.discovery.registries.listed import Belief, Listing, Server, outcomes, records_of
from headgate.discovery.resolving import Lookups


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "BETWEEN_S", 0.01)


def addresses(outcome: Outcome) -> list[str]:
    assert isinstance(outcome, Resolved), outcome
    import json

    return [json.loads(one)["address"] for one in outcome.records]


async def first(address: str, count: int, **settings: Any) -> list[Outcome]:
    """The first outcomes of what a registry says."""
    config = ResolverConfig.parse(settings)
    coming = registered(address, config, Lookups(config))
    async with asyncio.timeout(20):
        found = [await anext(coming) for _ in range(count)]
    await coming.aclose()
    return found


# ---- how services are written


def test_services_are_written_with_their_registry() -> None:
    assert parse_registered("consul:web") == Registered("consul", "web")
    assert parse_registered("consul:web?tag=a&tag=b&dc=dc2&tls=true") == Registered(
        "consul", "web", tags=("a", "b"), dc="dc2", is_secure=True
    )
    assert parse_registered("kubernetes:shop/web:http") == Registered("kubernetes", "web", "shop", "http")
    assert parse_registered("kubernetes:web") == Registered("kubernetes", "web")
    assert parse_registered("docker:web") == Registered("docker", "web")
    assert parse_registered("dns-sd:_http._tcp.a.test").name == "_http._tcp.a.test"


@pytest.mark.parametrize(
    "text",
    [
        "consul:",
        "consul:a/../b",
        "consul:web?tga=a",
        "consul:web?tag",
        "consul:web?tls=yes",
        "kubernetes:a/b/c",
        "docker:web?tag=a",
        "dns-sd:web.a.test",
    ],
)
def test_what_is_no_service_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_registered(text)
    assert text in str(refused.value)


# ---- what is believed


def test_an_empty_list_is_held_and_believed_when_its_time_is_over() -> None:
    belief = Belief(hold_s=30, suspect_below=0.0)
    assert belief.take((), 0) == Resolved((), 0.0), "there was nothing before"
    assert belief.take(("a", "b"), 1) == Resolved(("a", "b"), 0.0)
    held = belief.take((), 10)
    assert (
        isinstance(held, Failed) and "no servers are listed; the last ones are used for 30 s" in held.reason
    )
    assert belief.left_s(15) == 25
    assert belief.overdue(39) is None
    assert isinstance(belief.take((), 20), Failed), "the time begins with the first such list"
    assert belief.overdue(40) == Resolved((), 0.0)
    assert belief.left_s(41) is None


def test_a_list_that_returns_in_time_was_never_believed_to_be_empty() -> None:
    belief = Belief(hold_s=30, suspect_below=0.0)
    belief.take(("a",), 0)
    belief.take((), 1)
    assert belief.take(("a",), 29) == Resolved(("a",), 0.0)
    assert belief.left_s(29) is None


def test_a_list_that_shrinks_suspiciously_is_held_as_is_set() -> None:
    ten = tuple(map(str, range(10)))
    belief = Belief(hold_s=30, suspect_below=0.5)
    belief.take(ten, 0)
    assert isinstance(belief.take(ten[:4], 1), Failed)
    assert belief.take(ten[:5], 2) == Resolved(ten[:5], 0.0)
    assert Belief(0, 0.5, ten).take((), 0) == Resolved((), 0.0), "0: believed at once"
    assert isinstance(Belief(30, 0, ten).take((), 0), Failed), "what an agent of before has found counts"


def test_sets_have_each_address_once_in_order() -> None:
    listing = [Server("b:1"), Server("a:1", 5), Server("a:1", 7)]
    found = records_of(listing, is_secure=True)
    assert [one.split('"')[3] for one in found] == ["https://a:1", "https://b:1"]


async def test_a_source_that_breaks_off_is_asked_again_and_keeps_what_it_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("headgate.discovery.registries.listed.FIRST_PAUSE_S", 0.01)
    rounds = 0

    async def source() -> AsyncIterator[Listing]:
        nonlocal rounds
        rounds += 1
        yield [Server(f"10.0.0.{rounds}:1")]
        raise RegistryFailed("it broke")

    coming = outcomes(source, is_secure=False, hold_s=60, suspect_below=0)
    found = [await anext(coming) for _ in range(4)]
    assert [addresses(one) for one in found[::2]] == [["10.0.0.1:1"], ["10.0.0.2:1"]]
    assert found[1] == found[3] == Failed("it broke")
    await coming.aclose()


@pytest.mark.parametrize(
    "address",
    [
        *("", ":80", "a", "a:0", "a:65536", "a\r\nb:80", "a\0:80", "a b:80", "unix:/run/docker.sock"),
        *("[unix:/run/x]:80", "srv:_http._tcp.a", "file:/etc/passwd", "discover:os:abort", "tunnel:home"),
        *("https://a:80", "http://a:80", "a/b:80", "a@b:80", "0.0.0.0:80", "[::]:80", "224.0.0.1:80"),
    ],
)
def test_what_is_no_address_of_a_server_is_refused(address: str) -> None:
    with pytest.raises(RegistryFailed, match="is not the address of a server"):
        records_of([Server("10.0.0.1:80"), Server(address)], is_secure=False)


async def test_a_source_that_breaks_in_any_way_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.discovery.registries.listed.FIRST_PAUSE_S", 0.01)
    errors = [RecursionError("deep"), KeyError("x"), OverflowError("inf"), AttributeError("no")]

    async def source() -> AsyncIterator[Listing]:
        if errors:
            raise errors.pop()
        yield [Server("10.0.0.1:1")]

    coming = outcomes(source, is_secure=False, hold_s=60, suspect_below=0)
    found = [await anext(coming) for _ in range(5)]
    assert all(isinstance(one, Failed) for one in found[:4]) and addresses(found[4]) == ["10.0.0.1:1"]
    await coming.aclose()


@pytest.mark.parametrize(
    ("head", "body", "said"),
    [
        ("Content-Length: -5", b"[]" * 1000, "length is not valid"),
        ("Content-Length: \xb2", b"[]", "length is not valid"),
        ("Content-Length: 999999999999", b"[" * 300_000, "too long"),
        ("Transfer-Encoding: chunked", b"-5\r\n[]", "malformed framing"),
        ("Transfer-Encoding: chunked", b"0x5\r\n[]", "malformed framing"),
        ("Transfer-Encoding: chunked", b"fffffffffff\r\n" + b"[" * 300_000, "too long"),
        ("Content-Length: 150000", b"[" * 150_000, "not JSON"),
        ("Content-Length: 3", b"[5]", "not a list of services"),
        ("Content-Length: 100", b'[{"Service":{"Port":1e999,"Address":"a"}}]'.ljust(100), "not a list of"),
    ],
)
async def test_bodies_of_hostile_registries_are_refused_and_never_whole_in_memory(
    head: str, body: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.discovery.registries.calls.LONGEST_BODY_BYTES", 200_000)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nX-Consul-Index: 5\r\n{head}\r\n\r\n".encode("latin-1") + body)
        await reader.read()  # and no end
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        (outcome,) = await first("consul:web", 1, consul=f"http://127.0.0.1:{port}")
    assert isinstance(outcome, Failed) and said in outcome.reason


async def test_what_is_held_is_believed_without_another_word_of_the_registry() -> None:
    forever = asyncio.Event()

    async def source() -> AsyncIterator[Listing]:
        yield [Server("10.0.0.1:1")]
        yield []
        await forever.wait()

    coming = outcomes(source, is_secure=False, hold_s=0.05, suspect_below=0)
    async with asyncio.timeout(20):
        kinds = [type(await anext(coming)) for _ in range(2)]
        assert addresses(await anext(coming)) == []
    assert kinds == [Resolved, Failed]
    await coming.aclose()


# ---- Consul


def instance(address: str, port: int, node: str = "10.9.9.9", weight: int = 1) -> dict[str, Any]:
    """Of a response of `/v1/health/service`, what is read of it."""
    service = {
        "ID": f"web-{port}",
        "Address": address,
        "Port": port,
        "Weights": {"Passing": weight, "Warning": 1},
    }
    return {"Node": {"Node": "n1", "Address": node}, "Service": service, "Checks": [{"Status": "passing"}]}


async def test_consul_is_asked_by_blocking_queries() -> None:
    more: queue.Queue[list[Any]] = queue.Queue()
    more.put([instance("10.0.0.1", 80), instance("", 81, weight=5)])
    more.put([instance("10.0.0.2", 80)])

    def respond(asked: Asked) -> None:
        asked.respond(more.get(timeout=20), X_Consul_Index=str(len(registry.asked) * 7))

    with Registry(respond) as registry:
        settings = {"consul": {"url": registry.url, "token": "0123456789abcdef"}}
        found = await first("consul:web?tag=a&tag=b&dc=dc1", 2, **settings)
        more.put([])
    assert [addresses(one) for one in found] == [["10.0.0.1:80", "10.9.9.9:81"], ["10.0.0.2:80"]]
    assert '"weight": 5' in found[0].records[1]  # type: ignore[union-attr, index]
    one, two = registry.asked[:2]
    assert (one.path, one.fields["x-consul-token"]) == ("/v1/health/service/web", "0123456789abcdef")
    assert (one.queries["tag"], one.query["dc"], one.query["passing"]) == (["a", "b"], "dc1", "true")
    assert "index" not in one.query
    assert (two.query["index"], two.query["wait"]) == ("7", "60s")


async def test_instances_of_consul_have_their_zone_and_their_metadata() -> None:
    one, two, three = (instance(f"10.0.0.{n}", 80) for n in (1, 2, 3))
    one["Service"] |= {"Locality": {"Region": "eu", "Zone": "eu-1a"}, "Meta": {"version": "v2", "a b": "c"}}
    two["Node"] |= {"Locality": {"Zone": "eu-1b"}}
    three["Service"] |= {"Locality": None, "Meta": None}
    with Registry(lambda asked: asked.respond([one, two, three], X_Consul_Index="7")) as registry:
        (found,) = await first("consul:web", 1, consul=registry.url)
    records = [json.loads(record) for record in found.records]  # type: ignore[union-attr]
    assert [(record.get("zone"), record.get("metadata")) for record in records] == [
        ("eu-1a", {"version": "v2"}),
        ("eu-1b", None),
        (None, None),
    ]


def test_an_index_that_goes_back_begins_anew() -> None:
    assert next_index(0, "5") == 5
    assert next_index(5, "5") == 5
    assert next_index(5, "3") == 0
    for wrong in ("", "0", "-1", "x"):
        with pytest.raises(RegistryFailed):
            next_index(5, wrong)


@pytest.mark.parametrize("status", [403, 500])
async def test_a_registry_that_refuses_is_no_empty_list(status: int) -> None:
    with Registry(lambda asked: asked.respond([], status)) as registry:
        (outcome,) = await first("consul:web", 1, consul=registry.url)
    assert outcome == Failed(f"status {status}")


async def test_a_registry_that_says_something_else_is_no_empty_list() -> None:
    with Registry(lambda asked: asked.respond({"a": 1}, X_Consul_Index="1")) as registry:
        (outcome,) = await first("consul:web", 1, consul=registry.url)
    assert outcome == Failed("the response is not a list of services")


# ---- Kubernetes


def endpoint_slice(name: str, *endpoints: dict[str, Any], version: str = "1", **more: Any) -> dict[str, Any]:
    ports = [{"name": "metrics", "port": 9100}, {"name": "http", "port": 8080}]
    metadata = {"name": name, "resourceVersion": version}
    return {"metadata": metadata, "addressType": "IPv4", "ports": ports, "endpoints": [*endpoints], **more}


def endpoint(address: str, **conditions: bool | None) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}


def test_slices_of_a_service_are_one_set() -> None:
    both = [
        endpoint_slice("a", endpoint("10.0.0.1"), endpoint("10.0.0.2")),
        endpoint_slice("b", endpoint("10.0.0.2")),
    ]
    assert [one.address for one in servers_of(both, "http")] == ["10.0.0.1:8080", "10.0.0.2:8080"]
    assert [one.address for one in servers_of(both[1:], "8080")] == ["10.0.0.2:8080"], "it was in both"
    assert [one.address for one in servers_of(both[1:], "")] == ["10.0.0.2:9100"], "the first port"
    assert servers_of(both, "other") == []


def test_endpoints_have_their_zone() -> None:
    zoned = endpoint_slice("a", {**endpoint("10.0.0.1"), "zone": "eu-1a"}, endpoint("10.0.0.2"))
    assert [one.zone for one in servers_of([zoned], "http")] == ["eu-1a", None]
    zoned["endpoints"][0]["zone"] = 5
    with pytest.raises(RegistryFailed):
        servers_of([zoned], "http")


@pytest.mark.parametrize(
    "one", [5, [], {"ports": 5}, {"ports": [{"port": "x"}]}, {"ports": [{"port": 1}], "endpoints": [5]}]
)
def test_a_slice_that_is_none_is_refused(one: Any) -> None:
    with pytest.raises(RegistryFailed):
        servers_of([one], "")


async def test_a_list_of_slices_without_end_is_refused() -> None:
    def respond(asked: Asked) -> None:
        asked.respond({"metadata": {"resourceVersion": "1", "continue": "more"}, "items": []})

    with Registry(respond) as registry:
        (outcome,) = await first("kubernetes:a/web", 1, kubernetes={"url": registry.url})
        assert outcome == Failed("the list of EndpointSlices does not end") and len(registry.asked) < 100


def test_conditions_say_who_serves() -> None:
    def found(*endpoints: dict[str, Any]) -> list[str]:
        return [
            one.address.partition(":")[0] for one in servers_of([endpoint_slice("a", *endpoints)], "http")
        ]

    assert found(endpoint("10.0.0.1"), endpoint("10.0.0.2", ready=None)) == ["10.0.0.1", "10.0.0.2"]
    assert found(endpoint("10.0.0.1", ready=True), endpoint("10.0.0.2", ready=False)) == ["10.0.0.1"]
    ending = endpoint("10.0.0.3", ready=False, serving=True, terminating=True)
    assert found(endpoint("10.0.0.1"), ending) == ["10.0.0.1"]
    assert found(endpoint("10.0.0.1", ready=False, serving=False), ending) == ["10.0.0.3"], (
        "all end: still used"
    )
    assert servers_of([endpoint_slice("a", endpoint("x.test"), addressType="FQDN")], "http") == []
    assert [one.address for one in servers_of([endpoint_slice("a", endpoint("fd00::1"))], "http")] == [
        "[fd00::1]:8080"
    ]


class Cluster:
    """An API server with slices, whose watches a test scripts."""

    def __init__(self, *watches: Callable[[Asked], None]) -> None:
        self.slices: list[dict[str, Any]] = []
        self.version = "10"
        self.watches = list(watches)

    def __call__(self, asked: Asked) -> None:
        """Responds to a list or a watch."""
        if "watch" not in asked.query:
            return self.page(asked)
        if self.watches:
            return self.watches.pop(0)(asked)
        self.registry.over.wait(20)
        return None

    def page(self, asked: Asked) -> None:
        """One slice a page."""
        at = int(asked.query.get("continue", 0))
        more = str(at + 1) if at + 1 < len(self.slices) else ""
        metadata = {"resourceVersion": self.version, "continue": more}
        asked.respond({"metadata": metadata, "items": self.slices[at : at + 1]})

    registry: Registry


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    with Registry(made) as registry:
        made.registry = registry
        yield made


def events(*said: tuple[str, dict[str, Any]]) -> Callable[[Asked], None]:
    def watch(asked: Asked) -> None:
        asked.begin()
        for kind, changed in said:
            asked.line({"type": kind, "object": changed})
        asked.end()

    return watch


async def test_slices_are_listed_in_pages_and_watched_from_there_on(cluster: Cluster) -> None:
    cluster.slices = [endpoint_slice("a", endpoint("10.0.0.1")), endpoint_slice("b", endpoint("10.0.0.2"))]
    bookmark = {"metadata": {"resourceVersion": "40"}}
    cluster.watches = [
        events(
            ("MODIFIED", endpoint_slice("b", endpoint("10.0.0.1"), endpoint("10.0.0.3"), version="12")),
            ("DELETED", endpoint_slice("a", version="13")),
            ("BOOKMARK", bookmark),
        )
    ]
    settings = {"kubernetes": {"url": cluster.registry.url, "token": "0123456789abcdef"}}
    found = await first("kubernetes:shop/web:http", 3, **settings)
    hosts = [[one.partition(":")[0] for one in addresses(outcome)] for outcome in found]
    assert hosts == [["10.0.0.1", "10.0.0.2"], ["10.0.0.1", "10.0.0.3"], ["10.0.0.1", "10.0.0.3"]]
    lists = [one for one in cluster.registry.asked if "watch" not in one.query]
    assert lists[0].path == "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
    assert lists[0].query["labelSelector"] == "kubernetes.io/service-name=web"
    assert lists[0].fields["authorization"] == "Bearer 0123456789abcdef"
    watches = [one.query for one in cluster.registry.asked if "watch" in one.query]
    assert (watches[0]["resourceVersion"], watches[0]["allowWatchBookmarks"]) == ("10", "true")
    assert len(lists) == 2, "two pages, listed once"


async def test_a_watch_that_ended_goes_on_from_its_last_bookmark(cluster: Cluster) -> None:
    cluster.slices = [endpoint_slice("a", endpoint("10.0.0.1"))]
    cluster.watches = [
        events(("BOOKMARK", {"metadata": {"resourceVersion": "40"}})),
        events(("MODIFIED", endpoint_slice("a", endpoint("10.0.0.2"), version="41"))),
    ]
    found = await first("kubernetes:web:http", 2, kubernetes={"url": cluster.registry.url, "namespace": "n"})
    assert "/namespaces/n/" in cluster.registry.asked[0].path
    assert addresses(found[1]) == ["10.0.0.2:8080"]
    assert [one.query.get("resourceVersion") for one in cluster.registry.asked[:3]] == [None, "10", "40"]


@pytest.mark.parametrize("is_event", [True, False])
async def test_what_was_forgotten_is_listed_anew_and_nothing_between_is_lost(
    cluster: Cluster, is_event: bool
) -> None:
    def gone(asked: Asked) -> None:
        cluster.slices = [endpoint_slice("b", endpoint("10.0.0.9"))]  # a change that no event tells
        cluster.version = "900"
        status = {"kind": "Status", "code": 410, "message": "too old resource version: 10 (850)"}
        if is_event:
            events(("ERROR", status))(asked)
        else:
            asked.respond(status, 410)

    cluster.slices = [endpoint_slice("a", endpoint("10.0.0.1"))]
    cluster.watches = [gone, events(("MODIFIED", endpoint_slice("b", endpoint("10.0.0.7"), version="901")))]
    found = await first("kubernetes:web:http", 3, kubernetes={"url": cluster.registry.url})
    assert [addresses(one) for one in found] == [["10.0.0.1:8080"], ["10.0.0.9:8080"], ["10.0.0.7:8080"]]
    versions = [one.query["resourceVersion"] for one in cluster.registry.asked if "watch" in one.query]
    assert versions[:2] == ["10", "900"], "the list's version, not one of an error's text"


def test_a_cluster_is_believed_by_the_authority_that_is_named(tmp_path: Path) -> None:
    ours, account = Authority(tmp_path / "ours"), tmp_path / "account"
    account.mkdir()
    (account / "namespace").write_text("shop\n")
    (account / "token").write_text("first")
    config = KubernetesConfig.parse({"url": "https://10.0.0.1", "ca": str(ours.ca)})
    cluster = ApiServer(config, account)
    assert cluster.tls is not None and len(cluster.tls.get_ca_certs()) == 1
    assert (cluster.namespace, cluster.fields) == ("shop", {"authorization": "Bearer first"})
    (account / "token").write_text("renewed")
    assert cluster.fields == {"authorization": "Bearer renewed"}


async def test_outside_of_a_cluster_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (outcome,) = await first("kubernetes:web", 1)
    assert isinstance(outcome, Failed) and "`resolver.kubernetes.url`" in outcome.reason


# ---- Docker


def container(address: str, labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "Id": address,
        "Labels": {"headgate.service": "web", **(labels or {})},
        "Status": "Up 5 minutes",
        "Ports": [{"PrivatePort": 8080, "Type": "tcp"}],
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": address}}},
        **more,
    }


def test_labels_say_ports_weights_and_networks() -> None:
    two = {"Networks": {"a": {"IPAddress": "10.1.0.1"}, "b": {"IPAddress": "10.2.0.1"}}}
    several = [{"PrivatePort": port, "Type": "tcp"} for port in (80, 81)]
    found = docker_servers(
        [
            container("10.0.0.1"),
            container("10.0.0.2", {"headgate.port": "9000", "headgate.weight": "3"}),
            container("", {"headgate.network": "b"}, NetworkSettings=two),
            container("10.0.0.4", Status="Up 5 minutes (unhealthy)"),
            container("10.0.0.5", Status="Up 1 second (health: starting)"),
            container("10.0.0.6", Ports=several),
            container(""),
        ]
    )
    assert found == [Server("10.0.0.1:8080"), Server("10.0.0.2:9000", 3), Server("10.2.0.1:8080")]


async def test_containers_are_listed_anew_at_each_event() -> None:
    running = [container("10.0.0.1")]
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def respond(asked: Asked) -> None:
        if asked.path == "/events":
            asked.begin()
            asked.line({"Type": "container", "Action": "exec_start"})
            running.append(container("10.0.0.2"))
            asked.line({"Type": "container", "Action": "start"})
            loop.call_soon_threadsafe(changed.set)
            registry.over.wait(20)
        else:
            asked.respond(running)

    with Registry(respond) as registry:
        config = ResolverConfig.parse({"docker": registry.url})
        coming = registered("docker:web", config, Lookups(config))
        found: list[str] = []
        async with asyncio.timeout(20):
            while found != ["10.0.0.1:8080", "10.0.0.2:8080"]:
                found = addresses(await anext(coming))
        assert changed.is_set()
        await coming.aclose()
    assert '"headgate.service=web"' in registry.asked[0].query["filters"]


# ---- DNS-SD


async def test_instances_of_a_type_are_found_by_their_records() -> None:
    with NameServer() as dns:
        dns.says("_http._tcp.a.test", "PTR", ["one._http._tcp.a.test.", "two._http._tcp.a.test."])
        dns.says("one._http._tcp.a.test", "SRV", ["0 0 80 h1.a.test."])
        dns.says("two._http._tcp.a.test", "SRV", ["5 0 81 h2.a.test."])
        dns.says("h1.a.test", "A", ["192.0.2.1"])
        dns.says("h2.a.test", "A", ["192.0.2.2", "192.0.2.3"])
        settings = {"servers": dns.address, "family": "ipv4", "min_ttl": 0.01, "attempts": 1}
        (found,) = await first("dns-sd:_http._tcp.a.test", 1, **settings)
        assert addresses(found) == ["192.0.2.1:80", "192.0.2.2:81", "192.0.2.3:81"]
        assert '"backup": true' in found.records[1]  # type: ignore[union-attr, index]
        dns.fails("two._http._tcp.a.test")
        (failed,) = await first("dns-sd:_http._tcp.a.test", 1, **settings)
        assert isinstance(failed, Failed), "half of the instances are not the set"
        dns.fails("_http._tcp.a.test", "NXDOMAIN")
        (none,) = await first("dns-sd:_http._tcp.a.test", 1, **settings)
        assert addresses(none) == []
