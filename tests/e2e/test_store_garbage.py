"""Stores whose server is something else, or talks nonsense: it is told, waited out, and never ends a watch."""

import asyncio
import contextlib
import json
import random
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headgate.stores import (
    Key,
    Snapshot,
    StoreCorrupt,
    StoreUnavailable,
    Transaction,
    Write,
)

from .kit.net import eventually
from .kit.stores import NETWORKED, QUICK, Place, StoreServers

Talk = Callable[[socket.socket], None]


class Nonsense:
    """A server that talks to each connection as it was told to."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Nonsense":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            self.talk(client)


def saying(text: bytes, *, before: bytes = b"") -> Talk:
    """Says `before` to the first bytes that it hears, and the text to all that come later."""

    def talk(client: socket.socket) -> None:
        first = before
        while client.recv(65536):
            client.sendall(first or text)
            first = b""

    return talk


def said_at_once(text: bytes) -> Talk:
    """Says it before anybody asks, and goes."""

    def talk(client: socket.socket) -> None:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass

    return talk


def endless(piece: bytes) -> Talk:
    """Says it again and again."""

    def talk(client: socket.socket) -> None:
        while True:
            client.sendall(piece)

    return talk


def silent(client: socket.socket) -> None:
    """Hears and says nothing."""
    while client.recv(65536):
        pass


def as_json(*values: object) -> Talk:
    """HTTP with a JSON body that etcd would not say, another one for each request."""
    bodies = [json.dumps(value).encode() for value in values]

    def talk(client: socket.socket) -> None:
        for turn in range(1 << 20):
            if not client.recv(65536):
                return
            body = bodies[turn % len(bodies)]
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)

    return talk


NOISE = random.Random(1).randbytes(4096)
HEAD = {"key": "aGVhZA==", "value": "e30=", "mod_revision": "1"}
EVERYWHERE: dict[str, Talk] = {
    "closes at once": lambda client: None,
    "says nothing": silent,
    "speaks HTTP": saying(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
    "speaks SMTP": said_at_once(b"220 mail.example ESMTP\r\n"),
    "makes noise": saying(NOISE),
    "never stops": endless(b"\0" * 65536),
}
OWN: dict[str, dict[str, Talk]] = {
    "postgres": {
        "refuses TLS, then noise": saying(NOISE, before=b"N"),
        "an error without fields": saying(b"E\0\0\0\4"),
        "a message of two gigabytes": saying(b"R\x7f\xff\xff\xff" + b"\0" * 100),
        "an unknown way to authenticate": saying(b"R\0\0\0\x08\0\0\0\x63"),
        "ready at once, then noise": saying(NOISE, before=b"R\0\0\0\x08\0\0\0\0Z\0\0\0\5I"),
    },
    "redis": {
        "lengths that are none": saying(b"*x\r\n$y\r\n"),
        "a text of two gigabytes": saying(b"$2147483647\r\nx"),
        "integers where lists belong": saying(b":1\r\n" * 8),
        "nothing where lists belong": saying(b"*-1\r\n" * 8),
        "lists of nothing": saying(b"*3\r\n*-1\r\n$-1\r\n$-1\r\n" * 4),
    },
    "etcd": {
        "JSON of another shape": as_json(
            {}, [], 5, None, {"responses": []}, {"responses": [{}]}, {"responses": 5}
        ),
        "ranges of another shape": as_json(
            {"responses": [{"response_range": {"kvs": 5}}]},
            {"responses": [{"response_range": 5}]},
            {"responses": [{"response_range": {"kvs": [5]}}], "header": 5},
            {"responses": [{"response_range": {"kvs": [{**HEAD, "value": "%"}]}}]},
            {"responses": [{"response_range": {"kvs": [HEAD]}}]},
        ),
        "a head, and no revision": as_json(
            {
                "responses": [
                    {
                        "response_range": {
                            "kvs": [
                                {
                                    **HEAD,
                                    # {"epoch":"e","number":1,"mark":"m","oldest":0,"generation":"0","marks":{}}
                                    "value": "eyJlcG9jaCI6ImUiLCJudW1iZXIiOjEsIm1hcmsiOiJtIiwib2xkZXN0IjowLCJnZW5l"
                                    "cmF0aW9uIjoiMCIsIm1hcmtzIjp7fX0=",
                                }
                            ]
                        }
                    }
                ]
            }
        ),
    },
}
CASES = [(kind, name) for kind in NETWORKED for name in (*EVERYWHERE, *OWN[kind])]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServers]:
    with StoreServers(tmp_path_factory.mktemp("servers")) as made:
        yield made


@pytest.fixture
def place(kind: str, tmp_path: Path, servers: StoreServers) -> Iterator[Place]:
    with servers.place(kind, tmp_path) as made:
        yield made


A = Key("routes", "a")


@pytest.mark.parametrize(("kind", "name"), CASES)
async def test_a_server_that_talks_nonsense_is_told_and_waited_out(
    place: Place, kind: str, name: str
) -> None:
    async with place.open(is_direct=True) as direct:
        await direct.apply(Transaction((Write(A, {"n": 1}),)))
        known = await direct.load()
    real = place.proxy.target
    with Nonsense((EVERYWHERE | OWN[kind])[name]) as nonsense:
        place.proxy.target = ("127.0.0.1", nonsense.port)
        async with place.open(timing=replace(QUICK, response_s=0.3)) as store:
            waiting = [asyncio.ensure_future(anext(store.watch(since))) for since in (None, known.revision)]
            for _ in range(2):
                with pytest.raises((StoreUnavailable, StoreCorrupt)):
                    await store.load()
                with pytest.raises((StoreUnavailable, StoreCorrupt)):
                    await store.apply(Transaction((Write(A, {"n": 2}),)))
            await asyncio.to_thread(eventually, lambda: store.health.error, "it is told")
            assert not any(one.done() for one in waiting), [one.exception() for one in waiting if one.done()]
            place.proxy.target = real
            place.proxy.drop()
            async with asyncio.timeout(20):
                first = await waiting[0]
                assert isinstance(first, Snapshot)
                assert first == known
                async with place.open(is_direct=True) as direct:
                    await direct.apply(Transaction((Write(A, {"n": 3}),)))
                assert (await waiting[1]).revision.number == known.revision.number + 1
