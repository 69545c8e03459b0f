"""Configuration in etcd v3: one head, resources and a log under a prefix, one watch for all of it.

How it works: a transaction is one transaction of etcd's while it fits (128 operations, 1.5 MiB). One that does not
is written aside first, as a whole new generation of the resources, and takes effect when the head names that
generation; readers never see a part. The watch is of the head alone and only wakes, so what etcd compacts (by its own
revisions) is never missed; each `keepalive_s` the head is read, which finds out a watch that has gone deaf and a
member without a leader.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from headgate.stores.base import Document, Key, RegisteredNode, Resource, Timing, new_mark
from headgate.stores.documents import decoded, encoded
from headgate.stores.errors import StoreCorrupt, StoreError, StoreUnavailable
from headgate.stores.etcd_client import (
    EtcdClient,
    behind,
    body_of,
    chunks,
    number_of,
    pairs_of,
    put_of,
    range_of,
    revision_of,
    text_of,
    unchanged,
    unmoved,
)
from headgate.stores.logged import Head, LoggedStore, Planned, Reading, record_of, resource_of, resource_text
from headgate.stores.planning import Step
from headgate.stores.records import RevisionRecord
from headgate.stores.watching import announced

MOST_OPERATIONS, MOST_BYTES, PAGE = 100, 1_000_000, 1000


class Request(NamedTuple):
    """A transaction of etcd's that moves the head."""

    head: bytes
    """What that is to hold."""
    body: bytes


class EtcdStore(LoggedStore):
    """See the module; `etcd://user:password@host:2379,other:2379/prefix?tls=true&ca=/file&cert=/file&key=/file`."""

    def __init__(self, url: str, timing: Timing) -> None:
        super().__init__(url, timing)
        parts = urlsplit(url)
        self._client = EtcdClient(parts, timing)
        self._root = (unquote(parts.path).strip("/") or "headgate").encode() + b"/"
        self._head_key = self._root + b"head"
        self._generation = "0"
        self._head_revision = 0
        self._own_text = ""
        """The head as it was to be written last, as etcd's JSON has it."""

    @classmethod
    def of_url(cls, url: str, timing: Timing) -> "EtcdStore":
        """The store of a URL; raises `ValueError`."""
        if not urlsplit(url).netloc:
            raise ValueError(f"`{url}` is not a valid store\n  hint: etcd://127.0.0.1:2379/headgate")
        return cls(url, timing)

    async def read(self, keys: Collection[Key] | None) -> Reading:
        """See `LoggedStore`."""
        if keys is not None and len(keys) <= MOST_OPERATIONS:
            while True:
                generation = self._generation
                head, proof, found = await self._with_head(
                    [range_of(self._name(generation, str(key))) for key in keys]
                )
                if head.generation == generation:
                    return Reading(head, proof, self._resources(generation, found))
        head, proof, _, revision = await self._head()
        first = self._name(head.generation, "")
        found, end = [], behind(first)
        while True:
            asked = range_of(first, end, revision=str(revision), limit=str(PAGE))
            told = await self._called("kv/range", asked)
            pairs = pairs_of(told)
            found += pairs
            if not told.get("more") or not pairs:
                break
            first = pairs[-1][0] + b"\0"
        resources = self._resources(head.generation, found)
        wanted = resources if keys is None else {key: resources[key] for key in keys if key in resources}
        return Reading(head, proof, wanted)

    async def records(self, first: int, last: int) -> tuple[Head, list[RevisionRecord]]:
        """See `LoggedStore`."""
        log = range_of(self._log(first), self._log(last + 1))
        head, _, found, revision = await self._head([log])
        records = []
        for key, value, _ in found:
            where = key.decode(errors="replace")
            told = decoded(value, where)
            if "pieces" in told:
                prefix = self._pieces(where.rpartition("/")[2], str(told["pieces"]))
                asked = range_of(prefix, behind(prefix), revision=str(revision))
                value = b"".join(one[1] for one in pairs_of(await self._called("kv/range", asked)))
            records.append(record_of(where, value))
        return head, records

    def request(self, reading: Reading, head: Head, record: RevisionRecord) -> Request | None:
        """See `LoggedStore`: one transaction of etcd's; None for what does not fit into one."""
        told = json.dumps(record.plain())
        texts = {step.edit.key: resource_text(step, head.number) for step in record.steps}
        for key, text in texts.items():
            if text is not None and len(text) > MOST_BYTES:
                raise ValueError(f"`{key}` has {len(text)} bytes\n  hint: etcd takes {MOST_BYTES}")
        size = len(told) + sum(len(text) for text in texts.values() if text is not None)
        if len(texts) > MOST_OPERATIONS or size > MOST_BYTES:
            return None
        operations: list[dict[str, Any]] = []
        for key, text in texts.items():
            name = self._name(head.generation, str(key))
            operations.append(
                {"request_delete_range": range_of(name)}
                if text is None
                else {"request_put": put_of(name, text)}
            )
        return self._request(reading, head, [*operations, _put(self._log(head.number), told)])

    async def commit(self, planned: Planned) -> bool:
        """See `LoggedStore`."""
        if planned.request is None:
            return await self._commit_aside(planned.reading, planned.head, planned.record)
        return await self._commit(planned.request, planned.head)

    async def _commit_aside(self, reading: Reading, head: Head, record: RevisionRecord) -> bool:
        """Writes all resources as another generation, then the head that names it."""
        told = json.dumps(record.plain())
        whole = await self.read(None)
        if whole.proof != reading.proof:
            return False
        generation = new_mark()
        texts = {str(key): _text(one) for key, one in whole.resources.items()}
        for step in record.steps:
            _take(texts, step, head.number)
        pieces = self._pieces(f"{head.number:012}", generation)
        parts = [told[at : at + MOST_BYTES // 2] for at in range(0, len(told), MOST_BYTES // 2)]
        puts = [(pieces + f"{number:06}".encode(), part) for number, part in enumerate(parts)]
        puts += [(self._name(generation, name), text) for name, text in texts.items()]
        first = 0
        for chunk in chunks(puts, MOST_OPERATIONS, MOST_BYTES):
            done = await self._called("kv/txn", {"success": [_put(key, value) for key, value in chunk]})
            first = first or revision_of(done)
        log = _put(self._log(head.number), json.dumps({"pieces": generation}))
        later = replace(head, generation=generation)
        # somebody who compacts meanwhile sweeps up what no head names: then the first piece is gone
        asked = self._request(reading, later, [log], [unmoved(puts[0][0], first)])
        is_done = await self._commit(asked, later)
        old = [self._name(whole.head.generation, "")] if is_done else [pieces, self._name(generation, "")]
        for prefix in old:
            await self._called("kv/deleterange", range_of(prefix, behind(prefix)))
        return is_done

    async def forget(self, reading: Reading, head: Head) -> bool:
        """See `LoggedStore`."""
        current = self._name(head.generation, "")
        every = self._root + b"g/"
        gone = [
            range_of(self._log(0), self._log(head.oldest)),
            range_of(self._root + b"piece/", self._root + f"piece/{head.oldest:012}".encode()),
            range_of(every, current),
            range_of(behind(current), behind(every)),
        ]
        asked = self._request(reading, head, [{"request_delete_range": one} for one in gone])
        return await self._commit(asked, head)

    def _request(
        self,
        reading: Reading,
        head: Head,
        operations: Sequence[dict[str, Any]],
        compare: Sequence[dict[str, Any]] = (),
    ) -> Request:
        text = head.text()
        asked = {
            "compare": [unchanged(self._head_key, reading.proof), *compare],
            "success": [*operations, _put(self._head_key, text)],
        }
        return Request(text.encode(), body_of(asked))

    async def _commit(self, asked: Request, head: Head) -> bool:
        self._own_text = text_of(asked.head)
        told = await self._called("kv/txn", asked.body)
        is_done = bool(told.get("succeeded"))
        if is_done:
            self._head_revision = revision_of(told)
            self._generation, self._newest = head.generation, (head, asked.head)
        return is_done

    async def _head(self, asked: Sequence[dict[str, Any]] = ()) -> tuple[Head, bytes, list[Any], int]:
        """The head, its text, the pairs of some ranges in the same state, and the state's revision."""
        while True:
            told = await self._called(
                "kv/txn", {"success": [_range(range_of(self._head_key)), *map(_range, asked)]}
            )
            try:
                ranges = [pairs_of(one["response_range"]) for one in told["responses"]]
                found = ranges[0]
            except (KeyError, TypeError, IndexError):
                raise StoreCorrupt("etcd's response is not a valid transaction") from None
            if found:
                break
            first = [_put(self._head_key, self.first_head())]
            await self._called("kv/txn", {"compare": [unmoved(self._head_key, 0)], "success": first})
        _, value, number = found[0]
        head = self._head_of(value, self._head_key.decode(errors="replace"))
        self._generation, self._head_revision = head.generation, number
        return head, value, [pair for one in ranges[1:] for pair in one], revision_of(told)

    async def _with_head(self, asked: Sequence[dict[str, Any]]) -> tuple[Head, bytes, list[Any]]:
        head, proof, found, _ = await self._head(asked)
        return head, proof, found

    async def listen_on(self) -> None:
        """See `LoggedStore`. Watches the head, and again after each failure."""
        failures = 0
        while not self.is_closed:
            watching = asyncio.create_task(self._watch_head())
            try:
                while not watching.done():
                    await asyncio.wait([watching], timeout=self.timing.keepalive_s)
                    known = self._head_revision
                    if not watching.done():
                        await self._head()
                        failures = 0
                        if self._head_revision != known:
                            self.wake()
                            break  # the watch did not tell: it may have gone deaf
            except StoreError:
                pass  # is in `health` already
            finally:
                watching.cancel()
                await asyncio.wait([watching])
                self._is_listening.set()  # a watch that waits for it asks by itself
            failures += 1
            await self.pause(failures)

    async def _watch_head(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            async for said in self._client.watch(self._head_key):
                self._is_listening.set()
                if not self._is_told(said.get("events")):
                    self.wake()

    def _is_told(self, events: Any) -> bool:
        """Whether events of the head are nothing but what `apply` tells of."""
        try:
            return bool(events and self._own_mark) and all(
                one["kv"]["value"] == self._own_text for one in events
            )
        except (KeyError, TypeError):
            return False

    @contextlib.asynccontextmanager
    async def announce(self, node: str, facts: Document, *, ttl_s: float = 15) -> AsyncIterator[None]:
        """See `Store`; a node that has lost its lease says anew that it is there."""
        name = self._root + f"node/{quote(node, safe='')}".encode()
        lease: int | None = None

        async def say() -> None:
            nonlocal lease
            if lease is not None:
                told = await self._called("lease/keepalive", {"ID": str(lease)})
                if number_of(told.get("result"), "TTL", missing=0) > 0:
                    return
            granted = await self._called("lease/grant", {"TTL": str(max(1, round(ttl_s)))})
            lease = number_of(granted, "ID")
            await self._called("kv/put", put_of(name, encoded(facts), lease))

        async with announced(say, lambda: self._called("lease/revoke", {"ID": str(lease)}), ttl_s):
            yield

    async def nodes(self) -> Sequence[RegisteredNode]:
        """See `Store`."""
        prefix = self._root + b"node/"
        found = pairs_of(await self._called("kv/range", range_of(prefix, behind(prefix))))
        named = [(unquote(key.removeprefix(prefix).decode()), value) for key, value, _ in found]
        return [RegisteredNode(name, decoded(value, name)) for name, value in sorted(named)]

    async def close(self) -> None:
        """See `Store`."""
        await super().close()
        self._client.close()

    async def _called(self, path: str, body: dict[str, Any] | bytes) -> dict[str, Any]:
        if self.is_closed:
            raise StoreUnavailable("the store was closed")
        try:
            told = await self._client.call(path, body)
        except (StoreUnavailable, StoreCorrupt) as error:
            self.is_ill(error)
            raise
        self.is_well()
        return told

    def _name(self, generation: str, name: str) -> bytes:
        return self._root + f"g/{generation}/{name}".encode()

    def _log(self, number: int) -> bytes:
        return self._root + f"log/{number:012}".encode()

    def _pieces(self, number: str, generation: str) -> bytes:
        return self._root + f"piece/{number}.{generation}/".encode()

    def _resources(self, generation: str, pairs: Sequence[tuple[bytes, bytes, int]]) -> dict[Key, Resource]:
        prefix = self._name(generation, "")
        found = [
            resource_of(key.removeprefix(prefix).decode(errors="replace"), value) for key, value, _ in pairs
        ]
        return {one.key: one for one in found}


def _put(key: bytes, value: str) -> dict[str, Any]:
    return {"request_put": put_of(key, value)}


def _range(asked: dict[str, Any]) -> dict[str, Any]:
    return {"request_range": asked}


def _text(resource: Resource) -> str:
    return json.dumps({"revision": resource.revision, "document": resource.document})


def _take(texts: dict[str, str], step: Step, number: int) -> None:
    text = resource_text(step, number)
    if text is None:
        texts.pop(str(step.edit.key), None)
    else:
        texts[str(step.edit.key)] = text
