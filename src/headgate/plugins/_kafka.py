"""Messages of Kafka, produced and read by partition and offset, on clients that are made when they are needed."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from headgate import ConfigError

PAUSE = 1.0
"""Seconds for which a broker that could not be reached is not asked again."""

METADATA_PAUSE, METADATA_TRIES = 0.02, 50
"""Within a second the brokers tell which partitions a topic has."""


class KafkaAway(OSError):
    """The brokers cannot be reached, or did not respond in time."""


class Place(NamedTuple):
    """Where a message is."""

    partition: int
    offset: int


class Message(NamedTuple):
    """A message to produce."""

    value: bytes | None
    key: bytes | None
    partition: int | None
    headers: list[tuple[str, bytes]]


def library() -> Any:
    """The library `aiokafka`; raises `ConfigError` where it is not installed."""
    try:
        return importlib.import_module("aiokafka")
    except ImportError:
        raise ConfigError(
            "`kafka-rest` needs the library `aiokafka`", hint="pip install 'headgate[kafka]'"
        ) from None


class Brokers:
    """A producer and some consumers; after a failure they are made anew, once a pause is over."""

    def __init__(self, options: dict[str, Any], *, timeout: float, max_bytes: int, max_readers: int) -> None:
        self._library = library()
        self._errors = importlib.import_module("aiokafka.errors")
        self._options, self._timeout, self._most = options, timeout, max_bytes
        self._of_one_message = (
            self._errors.MessageSizeTooLargeError,
            self._errors.UnknownTopicOrPartitionError,
        )
        self._producer: Any = None
        self._starting = asyncio.Lock()
        self._readers: list[Any] = []
        self._room = asyncio.Semaphore(max_readers)
        self._away_until = 0.0
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

    async def produce(self, topic: str, messages: list[Message]) -> list[Place | str]:
        """Where each message is now, or why it is not; raises `KafkaAway`."""
        async with self._trying():
            producer = await self._started()
            waiting = []
            for message in messages:
                value, key, partition, headers = message
                try:
                    sent = await producer.send(topic, value, key, partition, headers=headers or None)
                except (*self._of_one_message, AssertionError, ValueError) as error:
                    sent = asyncio.get_running_loop().create_future()
                    sent.set_exception(error)
                waiting.append(sent)
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        for one in outcomes:
            if isinstance(one, asyncio.CancelledError):
                raise KafkaAway("the producer was closed")
        if all(isinstance(one, self._errors.KafkaConnectionError | TimeoutError) for one in outcomes):
            await self._failed("no broker took the messages")
        return [
            type(one).__name__ if isinstance(one, BaseException) else Place(one.partition, one.offset)
            for one in outcomes
        ]

    async def read(
        self, topic: str, partition: int, offset: int | str, most: int, wait: float
    ) -> tuple[list[Any], int]:
        """Messages of a partition from an offset on (or `earliest`, `latest`), and the offset behind them; raises
        `KafkaAway`, and `LookupError` for a partition or an offset that is not there.
        """
        place = self._library.TopicPartition(topic, partition)
        async with self._room, self._trying(extra=wait):
            reader = self._readers.pop() if self._readers else await self._reader()
            try:
                reader.assign([place])
                begin = await self._begin(reader, place, offset)
                reader.seek(place, begin)
                found = await reader.getmany(place, timeout_ms=int(wait * 1000), max_records=most)
            except LookupError:
                self._readers.append(reader)
                raise
            except BaseException:
                await _stopped(reader)
                raise
            self._readers.append(reader)
        messages = found.get(place, [])
        return messages, messages[-1].offset + 1 if messages else begin

    async def close(self) -> None:
        """Ends all connections."""
        producer, self._producer = self._producer, None
        readers, self._readers = self._readers, []
        for one in (producer, *readers):
            if one is not None:
                await _stopped(one)

    async def _begin(self, reader: Any, place: Any, offset: int | str) -> int:
        partitions = reader.partitions_for_topic(place.topic)
        for _ in range(METADATA_TRIES):
            if partitions:
                break
            await asyncio.sleep(METADATA_PAUSE)  # what was assigned just now is being asked for
            partitions = reader.partitions_for_topic(place.topic)
        if place.partition not in (partitions or ()):
            raise LookupError("there is no such partition")
        first = (await reader.beginning_offsets([place]))[place]
        behind = (await reader.end_offsets([place]))[place]
        begin = {"earliest": first, "latest": behind}.get(str(offset), offset)
        if not isinstance(begin, int) or not first <= begin <= behind:
            raise LookupError(f"the partition has offsets from {first} to {behind}")
        return begin

    async def _started(self) -> Any:
        async with self._starting:
            if self._producer is None:
                producer = self._library.AIOKafkaProducer(
                    **self._options,
                    acks="all",
                    enable_idempotence=True,
                    request_timeout_ms=max(int(self._timeout * 800), 500),
                    max_request_size=self._most,
                )
                try:
                    await producer.start()
                except BaseException:
                    await _stopped(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _reader(self) -> Any:
        reader = self._library.AIOKafkaConsumer(
            **self._options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            request_timeout_ms=max(int(self._timeout * 800), 500),
            max_partition_fetch_bytes=self._most,
        )
        try:
            await reader.start()
        except BaseException:
            await _stopped(reader)
            raise
        return reader

    @contextlib.asynccontextmanager
    async def _trying(self, extra: float = 0) -> AsyncIterator[None]:
        if time.monotonic() < self._away_until:
            raise KafkaAway("the brokers were away a moment ago")
        try:
            async with asyncio.timeout(self._timeout + extra):
                yield
        except (self._errors.KafkaError, TimeoutError, OSError) as error:
            if isinstance(error, KafkaAway):
                raise
            await self._failed(str(error) or type(error).__name__)

    async def _failed(self, reason: str) -> None:
        self._away_until = time.monotonic() + PAUSE
        await self.close()
        raise KafkaAway(reason)


async def _stopped(client: Any) -> None:
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await asyncio.wait_for(client.stop(), 1.0)


def security(user: str, password: str, mechanism: str, tls: bool, ca: str | None) -> dict[str, Any]:
    """The options of clients that prove who they are, and encrypt."""
    options: dict[str, Any] = {
        "security_protocol": ("SASL_" if user else "") + ("SSL" if tls else "PLAINTEXT")
    }
    if user:
        options |= {
            "sasl_mechanism": mechanism,
            "sasl_plain_username": user,
            "sasl_plain_password": password,
        }
    if tls:
        options["ssl_context"] = ssl.create_default_context(cafile=ca)
    return options
