"""What is special about the etcd store: others' keys and compaction, members, tokens, imports that do not fit."""

import asyncio
import base64
import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx
import pytest

from headgate.stores import (
    Changes,
    Key,
    Snapshot,
    Store,
    StoreReadOnly,
    StoreUnavailable,
    Transaction,
    Update,
    Write,
    open_store,
)
from headgate.stores.etcd_client import chunks

from .kit.net import eventually, free_port
from .kit.partition import Partition
from .kit.pki import Authority, Leaf
from .kit.services import EtcdServer, wait_for_port
from .kit.stores import QUICK

A = Key("routes", "a")


B_OWN, B_END = (base64.b64encode(key).decode() for key in (b"own/", b"own0"))


class Guarded(NamedTuple):
    """An etcd that is not open to everybody."""

    port: int
    authority: Authority
    client: Leaf

    def url(self, user: str = "gate:p%3Aw%40", prefix: str = "own", **given: str | None) -> str:
        """Of a store in it; `given` replaces what is right, or leaves it out."""
        right = {"ca": self.authority.ca, "cert": self.client.chain, "key": self.client.key}
        query = {name: value for name, value in {**right, **given}.items() if value is not None}
        at = f"{user}@" if user else ""
        return f"etcd://{at}127.0.0.1:{self.port}/{prefix}?{urlencode(query)}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path_factory.mktemp("etcd")) as made:
        yield made


names = iter(range(1000))


@pytest.fixture
def url(server: EtcdServer) -> str:
    return f"etcd://127.0.0.1:{server.port}/own{next(names)}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with open_store(url, timing=QUICK) as opened:
        yield opened


async def next_of(watch: AsyncIterator[Update]) -> Update:
    async with asyncio.timeout(30):
        return await anext(watch)


def put(document: Any, **options: Any) -> Transaction:
    return Transaction((Write(A, document),), **options)


async def etcd(port: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        response = await client.post(f"http://127.0.0.1:{port}/v3/{path}", json=body, timeout=20)
    told: dict[str, Any] = response.json()
    assert response.status_code == 200, told
    return told


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_others_keys_and_compaction_by_etcd_make_nobody_read_everything(
    store: Store, server: EtcdServer
) -> None:
    await store.apply(put({"n": 1}))
    watch = store.watch()
    await next_of(watch)
    for start in range(0, 1000, 100):
        puts = [{"request_put": {"key": coded(f"foreign/{start + n}"), "value": ""}} for n in range(100)]
        told = await etcd(server.port, "kv/txn", {"success": puts})
    await etcd(server.port, "kv/compaction", {"revision": told["header"]["revision"], "physical": True})
    await store.apply(put({"n": 2}))
    update = await next_of(watch)
    assert isinstance(update, Changes)
    assert [entry.edits[0].after for entry in await store.history()] == [{"n": 2}, {"n": 1}]


async def test_a_writer_that_died_in_an_import_leaves_nothing_that_is_served_and_is_swept_up(
    store: Store, url: str, server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.apply(put({"n": 1}))
    many = tuple(Write(Key("routes", f"r{n}"), {"n": n}) for n in range(300))

    async def die(*_: Any) -> bool:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("headgate.stores.etcd.EtcdStore._commit", die)
        with pytest.raises(ZeroDivisionError):
            await store.apply(Transaction(many))
    assert len((await store.load()).resources) == 1
    prefix = url.rpartition("/")[2]
    everything = {"key": coded(f"{prefix}/"), "range_end": coded(f"{prefix}0"), "keys_only": True}
    assert len((await etcd(server.port, "kv/range", everything))["kvs"]) > 300
    await store.apply(put({"n": 2}))  # has the number of the one that died
    await store.apply(put({"n": 3}))
    await store.compact(keep=1)
    left = [
        base64.b64decode(kv["key"]).decode()
        for kv in (await etcd(server.port, "kv/range", everything))["kvs"]
    ]
    assert sorted(left) == [f"{prefix}/g/0/routes/a", f"{prefix}/head", f"{prefix}/log/000000000003"]


async def test_an_import_that_was_swept_up_meanwhile_is_written_again(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody compacts, and that changes the head; the import begins anew and is whole."""
    await store.apply(put({"n": 1}))
    await store.apply(put({"n": 2}))
    many = {Key("routes", f"r{n}"): {"n": n} for n in range(300)}
    commit, times = type(store)._commit, iter([True])  # type: ignore[attr-defined]

    async def commit_late(self: Any, *arguments: Any) -> bool:
        if next(times, False):
            async with open_store(url) as other:
                await other.compact(keep=1)
        return bool(await commit(self, *arguments))

    monkeypatch.setattr("headgate.stores.etcd.EtcdStore._commit", commit_late)
    await store.apply(Transaction(tuple(Write(key, document) for key, document in many.items())))
    found = {key: one.document for key, one in (await store.load()).resources.items()}
    assert found == {A: {"n": 2}, **many}


async def test_a_document_that_etcd_cannot_take_is_refused_before_it_is_sent(store: Store) -> None:
    with pytest.raises(ValueError, match="etcd takes"):
        await store.apply(put({"text": "x" * 1_100_000}))
    await store.apply(put({"text": "x" * 600_000}))
    await store.apply(put({"text": "y" * 600_000}))  # whose history does not fit one request
    history = await store.history()
    assert [len(entry.edits[0].after["text"]) for entry in history if entry.edits[0].after] == [600_000] * 2


def test_puts_are_cut_by_number_and_by_size() -> None:
    puts = [(b"k", "v" * 9)] * 5
    assert [len(one) for one in chunks(puts, 2, 1000)] == [2, 2, 1]
    assert [len(one) for one in chunks(puts, 100, 25)] == [2, 2, 1]
    assert [len(one) for one in chunks([(b"k", "v" * 99)] * 2, 100, 25)] == [1, 1]
    assert chunks([], 2, 1000) == []


async def test_a_token_that_has_expired_is_asked_for_anew(tmp_path: Path) -> None:
    with EtcdServer(tmp_path, "--auth-token-ttl", "1") as server:
        await etcd(server.port, "auth/user/add", {"name": "root", "password": "p:w@"})
        await etcd(server.port, "auth/user/grant", {"user": "root", "role": "root"})
        await etcd(server.port, "auth/enable", {})
        async with open_store(f"etcd://root:p%3Aw%40@127.0.0.1:{server.port}/x", timing=QUICK) as store:
            first = await store.apply(put({"n": 1}))
            client: Any = store._client  # type: ignore[attr-defined]
            client._token = "gone.1"  # as the server sees one that is over
            watch = store.watch(first)
            waiting = asyncio.ensure_future(next_of(watch))
            newest = await store.apply(put({"n": 2}))
            assert (await waiting).revision == newest
            assert client._token != "gone.1"
        async with open_store(f"etcd://root:wrong@127.0.0.1:{server.port}/x", timing=QUICK) as store:
            with pytest.raises(StoreUnavailable, match="authentication failed"):
                await store.load()


async def test_a_change_of_users_makes_no_token_useless_for_good(tmp_path: Path) -> None:
    """etcd takes tokens of before a change of users, roles or rights for old ones."""
    with EtcdServer(tmp_path) as server:
        login = {"name": "root", "password": "p"}
        await etcd(server.port, "auth/user/add", login)
        await etcd(server.port, "auth/user/grant", {"user": "root", "role": "root"})
        await etcd(server.port, "auth/enable", {})
        async with open_store(f"etcd://root:p@127.0.0.1:{server.port}/x", timing=QUICK) as store:
            first = await store.apply(put({"n": 1}))
            watch = store.watch(first)
            for number in (2, 3, 4):
                waiting = asyncio.ensure_future(next_of(watch))
                token = (await etcd(server.port, "auth/authenticate", login))["token"]
                async with httpx.AsyncClient(headers={"authorization": token}) as client:
                    url = f"http://127.0.0.1:{server.port}/v3/auth/user/add"
                    added = await client.post(url, json={"name": f"user{number}", "password": "x"})
                    assert added.status_code == 200, added.text
                newest = await store.apply(put({"n": number}))
                assert (await waiting).revision == newest
            assert (await store.load()).documents("routes")["a"] == {"n": 4}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    """An etcd that speaks TLS with clients that have a certificate and a password only."""
    authority = Authority(tmp_path / "pki")
    own = authority.issue("127.0.0.1", "localhost", for_both=True)
    options = ["--cert-file", own.chain, "--key-file", own.key]
    options += ["--trusted-ca-file", authority.ca, "--client-cert-auth"]
    with EtcdServer(tmp_path, *options, scheme="https") as server:
        client = authority.issue(for_client=True, has_common_name=False)
        tls = authority.client(client)
        for call, body in (
            ("user/add", {"name": "root", "password": "r"}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("user/add", {"name": "gate", "password": "p:w@"}),
            ("role/add", {"name": "own"}),
            (
                "role/grant",
                {"name": "own", "perm": {"permType": "READWRITE", "key": B_OWN, "range_end": B_END}},
            ),
            ("user/grant", {"user": "gate", "role": "own"}),
            ("enable", {}),
        ):
            url = f"https://127.0.0.1:{server.port}/v3/auth/{call}"
            assert httpx.post(url, json=body, verify=tls).status_code == 200, call
        yield Guarded(server.port, authority, client)


async def test_tls_with_an_own_authority_a_client_certificate_and_a_password(guarded: Guarded) -> None:
    url = guarded.url()
    async with open_store(url, timing=QUICK) as store, open_store(url, timing=QUICK) as other:
        first = await store.apply(put({"n": 1}))
        watch = store.watch(first)
        waiting = asyncio.ensure_future(next_of(watch))
        newest = await other.apply(put({"n": 2}))
        assert (await waiting).revision == newest
        assert (await other.load()).resources[A].document == {"n": 2}
        async with other.announce("east", {"version": 1}):
            assert [one.name for one in await store.nodes()] == ["east"]
        assert await store.compact(keep=1) == newest.number


async def test_who_may_not_speak_with_an_etcd_is_told_why(guarded: Guarded, tmp_path: Path) -> None:
    named = guarded.authority.issue(subject="gateway", for_client=True)
    for url, error, said in (
        (guarded.url(user="gate:wrong"), StoreUnavailable, "authentication failed"),
        (guarded.url(user=""), StoreReadOnly, "permission denied"),
        (guarded.url(prefix="others"), StoreReadOnly, "permission denied"),
        (guarded.url(cert=None, key=None), StoreUnavailable, "bad certificate|certificate required"),
        (guarded.url(cert=named.chain, key=named.key), StoreUnavailable, "without a CommonName"),
        (guarded.url(ca=None, tls="true"), StoreUnavailable, "CERTIFICATE_VERIFY_FAILED"),
        (guarded.url(ca=Authority(tmp_path / "other").ca), StoreUnavailable, "CERTIFICATE_VERIFY_FAILED"),
    ):
        async with open_store(url, timing=QUICK) as store:
            with pytest.raises(error, match=said):
                await store.load()
    for wrong in ({"ca": "/no/such"}, {"cert": "/no/such"}, {"key": "/no/such"}, {"ca": "/dev/null"}):
        with pytest.raises(ValueError, match="the certificates of etcd's URL cannot be read"):
            open_store(guarded.url(**wrong))
    for half in ({"cert": None}, {"key": None}):
        with pytest.raises(ValueError, match="`cert` and `key`"):
            open_store(guarded.url(**half))


async def test_something_that_is_not_etcd_is_told(tmp_path: Path) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        writer.close()

    serving = await asyncio.start_server(say, "127.0.0.1", 0)
    port = serving.sockets[0].getsockname()[1]
    async with serving, open_store(f"etcd://127.0.0.1:{port}/x", timing=QUICK) as store:
        with pytest.raises(Exception, match="is it etcd"):
            await store.load()
        assert "is it etcd" in store.health.error


async def test_a_member_that_hangs_is_left_for_another(tmp_path: Path) -> None:
    with cluster(tmp_path) as (ports, processes):
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        timing = replace(QUICK, poll_s=60, response_s=2, keepalive_s=0.5)
        async with open_store(f"etcd://{hosts}/x", timing=timing) as store:
            first = await applied(store, put({"n": 1}))
            watch = store.watch(first)
            waiting = asyncio.ensure_future(next_of(watch))
            await asyncio.to_thread(eventually, lambda: store._is_listening.is_set(), "it watches")  # type: ignore[attr-defined]
            processes[0].send_signal(signal.SIGSTOP)
            try:
                async with open_store(f"etcd://127.0.0.1:{ports[1]}/x", timing=timing) as other:
                    newest = await applied(other, put({"n": 2}))
                update = await waiting
                assert update.revision == newest or isinstance(update, Snapshot)
            finally:
                processes[0].send_signal(signal.SIGCONT)


async def test_a_member_without_a_leader_is_not_taken_for_one_that_has_nothing_new(tmp_path: Path) -> None:
    """The member responds, and its watch is open: that is not enough."""
    with cluster(tmp_path) as (ports, processes):
        timing = replace(QUICK, poll_s=1, response_s=2, keepalive_s=0.5)
        async with open_store(f"etcd://127.0.0.1:{ports[0]}/x", timing=timing) as store:
            first = await applied(store, put({"n": 1}))
            watch = store.watch(first)
            waiting = asyncio.ensure_future(next_of(watch))
            await asyncio.to_thread(eventually, lambda: store._is_listening.is_set(), "it watches")  # type: ignore[attr-defined]
            for process in processes[1:]:
                process.send_signal(signal.SIGSTOP)
            try:
                await asyncio.to_thread(eventually, lambda: store.health.error, "it is told", within=40)
                assert not waiting.done()
            finally:
                for process in processes[1:]:
                    process.send_signal(signal.SIGCONT)
            newest = await applied(store, put({"n": 2}))
            assert (await waiting).revision == newest
            await asyncio.to_thread(eventually, lambda: not store.health.error, "it is well", within=40)


async def test_presence_does_not_flicker_when_the_leader_is_killed(tmp_path: Path) -> None:
    with cluster(tmp_path) as (ports, processes):
        url = f"etcd://{','.join(f'127.0.0.1:{port}' for port in ports)}/x"
        timing = replace(QUICK, response_s=2)
        async with open_store(url, timing=timing) as store, open_store(url, timing=timing) as other:
            await applied(store, put({"n": 1}))
            ttl_s = 4.0
            async with store.announce("east", {}, ttl_s=ttl_s):
                told = [await etcd(port, "maintenance/status", {}) for port in ports]
                leader = next(n for n, one in enumerate(told) if one["leader"] == one["header"]["member_id"])
                processes[leader].kill()
                await applied(other, put({"n": 2}))
                until = time.monotonic() + ttl_s * 1.5  # a lease that nobody renews would have ended
                seen: list[list[str]] = []
                while time.monotonic() < until:
                    with contextlib.suppress(StoreUnavailable):
                        seen.append([node.name for node in await other.nodes()])
                assert seen and all(names == ["east"] for names in seen)


async def applied(store: Store, transaction: Transaction) -> Any:
    async with asyncio.timeout(40):
        while True:
            with contextlib.suppress(StoreUnavailable):
                return await store.apply(transaction)
            await asyncio.sleep(0.1)


async def test_a_member_that_is_cut_off_from_the_others_is_left_for_another(tmp_path: Path) -> None:
    """It still talks with its clients, who would hear nothing from it for ever."""
    peers = [free_port() for _ in range(3)]
    with Partition(peers) as network, cluster(tmp_path, peers, network.ports) as (ports, _):
        told = await etcd(ports[0], "maintenance/status", {})
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        timing = replace(QUICK, poll_s=60, response_s=2, keepalive_s=0.5)
        async with open_store(f"etcd://{hosts}/x", timing=timing) as store:
            first = await applied(store, put({"n": 1}))
            watch = store.watch(first)
            waiting = asyncio.ensure_future(next_of(watch))
            await asyncio.to_thread(eventually, lambda: store._is_listening.is_set(), "it watches")  # type: ignore[attr-defined]
            network.isolate(0, f"{int(told['header']['member_id']):x}")
            async with open_store(f"etcd://127.0.0.1:{ports[1]}/x", timing=timing) as other:
                newest = await applied(other, put({"n": 2}))
                assert (await waiting).revision == newest
                last = await applied(store, put({"n": 3}))
                async with (
                    httpx.AsyncClient() as client
                ):  # the member is there, and knows nothing of all that
                    body = {"key": coded("x/head"), "serializable": True}
                    url = f"http://127.0.0.1:{ports[0]}/v3/kv/range"
                    head = (await client.post(url, json=body, timeout=20)).json()["kvs"][0]["value"]
                assert json.loads(base64.b64decode(head))["number"] == first.number
                network.mend()
                assert (await next_of(watch)).revision == last
                assert await applied(other, put({"n": 3})) == last  # which changes nothing


@contextlib.contextmanager
def cluster(
    folder: Path, peers: Sequence[int] = (), ways: Sequence[int] = ()
) -> Iterator[tuple[list[int], list["subprocess.Popen[bytes]"]]]:
    """Three members; `peers` are their ports for each other, `ways` where the others reach them."""
    program = shutil.which("etcd")
    assert program is not None, "no etcd here; hint: `make services`"
    peers = peers or [free_port() for _ in range(3)]
    ports = [(free_port(), peer) for peer in peers]
    advertised = [f"http://127.0.0.1:{way}" for way in ways or peers]
    members = ",".join(f"m{n}={way}" for n, way in enumerate(advertised))
    processes = []
    for number, (client, peer) in enumerate(ports):
        own, listens = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        other = advertised[number]
        command = [program, "--name", f"m{number}", "--data-dir", str(folder / f"m{number}")]
        command += [
            "--listen-client-urls",
            own,
            "--advertise-client-urls",
            own,
            "--listen-peer-urls",
            listens,
        ]
        command += ["--initial-advertise-peer-urls", other, "--initial-cluster", members]
        with (folder / f"m{number}.log").open("wb") as log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=log))
    try:
        for number, (client, _) in enumerate(ports):
            wait_for_port(client, processes[number], folder / f"m{number}.log")
        yield [client for client, _ in ports], processes
    finally:
        for process in processes:
            process.kill()
            process.wait(timeout=20)


def test_the_head_is_plain_json() -> None:
    from headgate.stores.logged import Head

    head = Head("e").after("m")
    assert json.loads(head.text())["marks"] == {"m": 1}
    assert Head.of_text(head.text(), "head") == head
