"""Nodes that share accounts, certificates and challenges by a store: one orders, every one proves and serves."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headgate.acme import CertificateManager
from headgate.acme.order import new_key
from headgate.acme.sealing import Seal
from headgate.acme.sharing import SharedStorage
from headgate.acme.storage import StorageError
from headgate.stores import StoreUnavailable

from .kit import Serve, free_port
from .kit.acme import Pebble, config, is_here, names_of, ordering, pebble, shown, until
from .kit.gateway import RunningGateway
from .kit.stores import KINDS, NETWORKED, Place, StoreServers
from .test_acme import started

SECRET = "s" * 32
needs_pebble = pytest.mark.skipif(
    not is_here(), reason="no pebble here; hint: `make services` builds it with Go"
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServers]:
    with StoreServers(tmp_path_factory.mktemp("servers")) as made:
        yield made


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, servers: StoreServers) -> Iterator[Place]:
    with servers.place(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def sqlite(tmp_path: Path, servers: StoreServers) -> Iterator[Place]:
    with servers.place("sqlite", tmp_path) as made:
        yield made


def opened(
    place: Place, folder: Path, *, secrets: tuple[str, ...] = (SECRET,), lease_s: float = 2
) -> SharedStorage:
    return SharedStorage(folder, place.open(), Seal(secrets), lease_s=lease_s)


@asynccontextmanager
async def nodes(
    place: Place, folder: Path, **options: Any
) -> AsyncIterator[tuple[SharedStorage, SharedStorage]]:
    a, b = opened(place, folder / "a", **options), opened(place, folder / "b", **options)
    async with a.following(), b.following():
        await until_async(lambda: len_of(a), 2)
        yield a, b


async def len_of(storage: SharedStorage) -> int:
    return len(await storage._store.nodes())


async def until_async(ask: Callable[[], Any], wanted: object) -> None:
    async with asyncio.timeout(20):
        for pause in itertools.chain([0.0], itertools.repeat(0.02)):
            await asyncio.sleep(pause)
            if await ask() == wanted:
                return


async def told(place: Place) -> str:
    """All that the store holds, history included."""
    async with place.open() as store:
        now = {str(key): one.document for key, one in (await store.load()).resources.items()}
        past = [(edit.before, edit.after) for entry in await store.history() for edit in entry.edits]
        return json.dumps([now, past], default=str)


async def test_what_one_node_writes_the_other_has_and_the_store_only_sealed(
    place: Place, tmp_path: Path
) -> None:
    async with nodes(place, tmp_path) as (a, b), a.ordering() as is_ours:
        assert is_ours
        key = new_key("ecdsa")
        await asyncio.to_thread(a.put_certificate, "*.a.test", "ecdsa", b"-----CHAIN-----\n", key)
        await asyncio.to_thread(a.put_account, "https://authority.test", {"key": "k", "uri": "u"})
        await asyncio.to_thread(a.put_http_challenge, "TOKEN", b"TOKEN.digest")
        assert (tmp_path / "b" / "challenges" / "http" / "TOKEN").read_bytes() == b"TOKEN.digest"
        assert key in (tmp_path / "b" / "certificates" / "_.a.test.pem").read_bytes()
        assert b.account("https://authority.test") == {"key": "k", "uri": "u"}
        await asyncio.to_thread(a.drop_challenge, "http", "TOKEN")
        await until(lambda: not (tmp_path / "b" / "challenges" / "http" / "TOKEN").exists(), "it is gone")
    held = await told(place)
    for secret in ("CHAIN", "PRIVATE", "TOKEN.digest", key.decode().splitlines()[1]):
        assert secret not in held


async def test_one_of_two_nodes_orders_and_the_lease_of_a_dead_one_is_taken(
    place: Place, tmp_path: Path
) -> None:
    async with nodes(place, tmp_path) as (a, b):
        async with a.ordering() as first, b.ordering() as second:
            assert first and not second
        async with b.ordering() as second, a.ordering() as first:
            assert second and not first, "it is given back at once"
        lease = a._leases["lock"]
        assert await a._taken(lease)
        assert lease._beating is not None
        lease._beating.cancel()  # as if its node had died

        async def taken() -> bool:
            async with b.ordering() as is_ours:
                tries.append(is_ours)
                return is_ours

        tries: list[bool] = []
        await until_async(taken, True)
        assert False in tries, "not before it is over"


async def test_node_that_was_held_up_beyond_its_lease_writes_nothing_more(
    sqlite: Place, tmp_path: Path
) -> None:
    async with nodes(sqlite, tmp_path, lease_s=0.5) as (a, b), a.ordering() as first:
        assert first
        held = a._leases["lock"]._beating
        assert held is not None
        held.cancel()

        async def taken() -> bool:
            async with b.ordering() as is_ours:
                if is_ours:
                    with pytest.raises(StorageError, match="another node orders now"):
                        await asyncio.to_thread(a.put_certificate, "a.test", "ecdsa", b"late", b"late")
                return is_ours

        await until_async(taken, True)
        assert not (tmp_path / "a" / "certificates" / "a.test.pem").exists()


async def test_lease_is_kept_for_as_long_as_the_order_takes(sqlite: Place, tmp_path: Path) -> None:
    async with nodes(sqlite, tmp_path, lease_s=0.5) as (a, b), a.ordering() as first:
        assert first
        for _ in range(8):
            async with b.ordering() as second:
                assert not second
            await asyncio.sleep(0.2)
        await asyncio.to_thread(a.put_state, {"a.test ecdsa": {}})
    assert b.state() == {"a.test ecdsa": {}}


async def test_key_is_rotated_and_a_node_without_it_says_so(
    sqlite: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = "n" * 32
    async with opened(sqlite, tmp_path / "a").following():
        pass
    a = opened(sqlite, tmp_path / "a")
    async with a.following(), a.ordering():
        await asyncio.to_thread(a.put_state, {"a": {"n": 1}})
    b = opened(sqlite, tmp_path / "b", secrets=(other, SECRET))
    async with b.following(), b.ordering():
        assert b.state() == {"a": {"n": 1}}
    c = opened(sqlite, tmp_path / "c", secrets=(other,))
    async with c.following(), c.ordering():
        assert c.state() == {"a": {"n": 1}}, "sealed anew"
    d = opened(sqlite, tmp_path / "d")
    async with d.following(), d.ordering():
        assert d.state() == {}
    assert "hint: add it to `acme.store_keys`" in caplog.text


async def test_folder_that_is_shared_from_now_on_gives_what_it_has(sqlite: Place, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "certificates"
    folder.mkdir(parents=True)
    (folder / "old.test.pem").write_bytes(b"old")
    async with nodes(sqlite, tmp_path) as (a, _):
        async with a.ordering():
            pass
        await until((tmp_path / "b" / "certificates" / "old.test.pem").is_file, "the other has it")


@pytest.mark.parametrize("kind", NETWORKED)
async def test_store_that_is_away_stops_orders_and_nothing_else(
    kind: str, servers: StoreServers, tmp_path: Path
) -> None:
    with servers.place(kind, tmp_path) as place:
        async with nodes(place, tmp_path) as (a, _):
            async with a.ordering():
                await asyncio.to_thread(a.put_certificate, "a.test", "ecdsa", b"chain", new_key("ecdsa"))
            place.proxy.cut()
            with pytest.raises((StorageError, StoreUnavailable)):
                async with a.ordering():
                    pass
            assert (tmp_path / "a" / "certificates" / "a.test.pem").is_file()
            place.proxy.mend()

            async def taken() -> bool:
                try:
                    async with a.ordering() as is_ours:
                        return is_ours
                except StorageError:
                    return False

            await until_async(taken, True)


NODE = """
import asyncio, json, sys
from pathlib import Path
from headgate.acme import CertificateManager
from headgate.acme.sealing import Seal
from headgate.acme.sharing import SharedStorage
from headgate.config.acme import AcmeConfig
from headgate.stores import open_store

url, folder, secret, settings = sys.argv[1:]
storage = SharedStorage(Path(folder), open_store(url), Seal([secret]), lease_s=3)
manager = CertificateManager(AcmeConfig.parse(json.loads(settings)), storage, lambda: ["shop.test"])
asyncio.run(manager.run())
"""


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@needs_pebble
async def test_node_is_killed_amid_its_order_and_the_other_finishes(
    serve: Serve, place: Place, ports: tuple[int, int], tmp_path: Path
) -> None:
    gateway = started(serve, ports, tmp_path / "b" / "acme")
    slow = {"PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "60"}
    with (
        pebble(tmp_path / "slow", *ports, environment=slow) as never,
        pebble(tmp_path / "quick", *ports) as quick,
    ):
        # the first is at an authority that takes long, so that it is amid its order whenever it is killed
        settings = {"directory": never.directory, "ca": never.ca, "email": "ops@shop.test"}
        command = [sys.executable, "-c", NODE, place.url, str(tmp_path / "a"), SECRET, json.dumps(settings)]
        with (tmp_path / "a.log").open("wb") as log:
            process = await asyncio.to_thread(
                subprocess.Popen, command, stdout=log, stderr=log, start_new_session=True
            )
        try:
            storage = opened(place, tmp_path / "b" / "acme", lease_s=3)
            async with storage.following():
                challenges = tmp_path / "b" / "acme" / "challenges" / "alpn"
                await until(lambda: list(challenges.iterdir()), "the challenge is on the other node too")
                async with storage.ordering() as is_ours:
                    assert not is_ours
            os.killpg(process.pid, signal.SIGKILL)
        finally:
            process.kill()
            process.wait()
        manager = CertificateManager(
            config(quick), opened(place, tmp_path / "b" / "acme", lease_s=3), lambda: ["shop.test"]
        )
        async with ordering(manager):
            await until(lambda: names_of(shown(ports[1], "shop.test")) == ["shop.test"], "the certificate")
    assert "Traceback" not in gateway.log()


@needs_pebble
async def test_challenge_of_one_node_is_proven_by_another_and_both_have_the_certificate(
    serve: Serve, sqlite: Place, ports: tuple[int, int], tmp_path: Path
) -> None:
    """The authority comes to the gateway of `b`, whatever node orders; `a` orders."""
    started(serve, ports, tmp_path / "b" / "acme")
    with pebble(tmp_path / "pebble", *ports) as authority:
        async with opened(sqlite, tmp_path / "b" / "acme").following():
            manager = CertificateManager(
                config(authority), opened(sqlite, tmp_path / "a"), lambda: ["shop.test"]
            )
            async with ordering(manager):
                await until(lambda: names_of(shown(ports[1], "shop.test")) == ["shop.test"], "it serves")
        log = (tmp_path / "pebble" / "pebble.log").read_text()
    files = [tmp_path / node / "certificates" / "shop.test.pem" for node in ("a", "b/acme")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert log.count("POST /order-plz") == 1


@needs_pebble
async def test_two_nodes_that_order_at_once_do_so_once(sqlite: Place, tmp_path: Path) -> None:
    with pebble(
        tmp_path / "pebble", free_port(), free_port(), environment={"PEBBLE_VA_ALWAYS_VALID": "1"}
    ) as authority:
        managers = [
            CertificateManager(config(authority), opened(sqlite, tmp_path / node), lambda: ["shop.test"])
            for node in "abc"
        ]
        async with ordering(managers[0]), ordering(managers[1]), ordering(managers[2]):
            for one in managers:
                await until(partial(one.storage.certificate, "shop.test", "ecdsa"), "every node has it")
        log = (tmp_path / "pebble" / "pebble.log").read_text()
    assert log.count("POST /order-plz") == 1 and log.count("POST /sign-me-up") <= 2


@needs_pebble
def test_gateways_with_a_store_share_what_they_order(
    serve: Serve, sqlite: Place, ports: tuple[int, int], tmp_path: Path
) -> None:
    with pebble(tmp_path / "pebble", *ports) as authority:
        one = gateway_on(serve, authority, sqlite, ports, tmp_path / "one")
        asyncio.run(until(lambda: names_of(shown(ports[1], "shop.test")) == ["shop.test"], one.log()))
        others = (free_port(), free_port())
        two = gateway_on(serve, authority, sqlite, others, tmp_path / "two")
        asyncio.run(until(lambda: names_of(shown(others[1], "shop.test")) == ["shop.test"], two.log()))
        first, second = (shown(port, "shop.test") for port in (ports[1], others[1]))
        assert first and second and first.serial_number == second.serial_number
        assert SECRET not in one.log() + two.log()


def gateway_on(
    serve: Serve, authority: Pebble, place: Place, ports: tuple[int, int], state: Path
) -> RunningGateway:
    settings = {
        "listeners": [f"127.0.0.1:{ports[0]}", {"address": f"127.0.0.1:{ports[1]}", "tls": "auto"}],
        "acme": {
            "directory": authority.directory,
            "ca": authority.ca,
            "store": place.url,
            "store_keys": "env:ACME_STORE_KEY",
        },
        "routes": [{"host": "shop.test", "respond": "shop"}],
    }
    environment = {"HEADGATE_STATE_DIR": str(state), "ACME_STORE_KEY": SECRET}
    return serve(settings, environment=environment, listen=f"127.0.0.1:{ports[0]}")
