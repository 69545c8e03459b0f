"""Chooses the broker of each MQTT connection by the client's id, its user, or a topic."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import shutil
import tempfile
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError, Connection, Pattern, Plugin, PluginContext

from ._mqtt import (
    CONNECT,
    MALFORMED,
    NOT_AUTHORIZED,
    UNAVAILABLE,
    BadPacket,
    accepted,
    connect,
    is_accepted,
    length_of,
    packet,
    refused,
    topic,
)

MOST_BEFORE = 16
"""Packets of a client that wait until one with a topic comes."""
CHUNK = 65_536
BROKER = re.compile(r"([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})")


def broker_address(text: str) -> tuple[str, int]:
    """Host and port of a broker; raises `ConfigError`."""
    found = BROKER.fullmatch(text)
    if found is None or not 0 < int(found[2]) < 65536:
        raise ConfigError(f"`{text}` is not the address of a broker", hint="write `10.0.0.1:1883`")
    return found[1].strip("[]"), int(found[2])


class Rule(BaseModel):
    """Which connections go where."""

    model_config = ConfigDict(extra="forbid")

    match: str = Field(description="A text that the value is, `prefix*`, or `~pattern` in the syntax of RE2.")
    to: list[str] = Field(min_length=1, description="Brokers, as `10.0.0.1:1883`.")

    @field_validator("match")
    @classmethod
    def _pattern(cls, text: str) -> str:
        _matcher(text)
        return text

    @field_validator("to")
    @classmethod
    def _brokers(cls, brokers: list[str]) -> list[str]:
        for one in brokers:
            broker_address(one)
        return brokers


class MqttRouting(Plugin):
    """Routes MQTT (3.1, 3.1.1, 5.0) on a TCP listener: `on` is the listener's name. The first rule that matches chooses
    the brokers; a client id always gets the same of them, and the next one if that cannot be reached.

    With `by: topic` the gateway lets the client in itself, and chooses by the topic of its first PUBLISH or the first
    filter of its first SUBSCRIBE; all that the connection sends goes to that broker, which decides on user and
    password then: a client that it refuses is cut off. What is not MQTT, is too long or too late is cut off before any
    broker sees it. The address of a broker is that of a server, not the name of an upstream: brokers have no health
    checks, and see the gateway's address.
    """

    class Config(BaseModel):
        """Settings of `mqtt-routing`."""

        model_config = ConfigDict(extra="forbid")

        by: Literal["client-id", "user", "topic"] = Field(
            default="client-id", description="What rules are compared with."
        )
        rules: list[Rule] = Field(default=[], description="Rules; the first one that matches counts.")
        to: list[str] = Field(
            default=[], description="Brokers of all other connections; without them those are refused."
        )
        max_packet_bytes: int = Field(
            default=65_536, ge=128, description="The most bytes of a packet until the broker is chosen."
        )
        timeout: float = Field(default=10, gt=0, description="Seconds until the broker is chosen.")
        connect_timeout: float = Field(default=5, gt=0, description="Seconds to connect to a broker.")

        @field_validator("to")
        @classmethod
        def _brokers(cls, brokers: list[str]) -> list[str]:
            for one in brokers:
                broker_address(one)
            return brokers

        @model_validator(mode="after")
        def _any(self) -> MqttRouting.Config:
            if not self.rules and not self.to:
                raise ConfigError("there is no broker", hint="write `rules` or `to`")
            return self

    def setup(self, context: PluginContext) -> None:
        """Prepares the rules."""
        config = self.config
        self._rules = [(_matcher(one.match), one.to) for one in config.rules]
        self._context = context
        self._folder = ""
        self._server: asyncio.Server | None = None
        self._refused, self._routed = context.counter("refused"), context.counter("routed")

    async def startup(self) -> None:
        """Listens where the engine brings the connections to."""
        self._folder = tempfile.mkdtemp(prefix="hg-mqtt-")
        self._server = await asyncio.start_unix_server(self._serve, f"{self._folder}/in", limit=CHUNK)

    def connect(self, connection: Connection) -> None:
        """Leads the connection here."""
        connection.upstream = f"unix:{self._folder}/in"

    async def close(self) -> None:
        """Listens no more."""
        if self._server is not None:
            self._server.close()
            await asyncio.to_thread(shutil.rmtree, self._folder, True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        version = 4
        broker: asyncio.StreamWriter | None = None
        try:
            try:
                async with asyncio.timeout(self.config.timeout):
                    first, body = await self._packet(reader)
                    if first != CONNECT << 4:
                        raise BadPacket("the first packet is not a CONNECT")
                    said = connect(body)
                    version = said.version
                    waiting, value = [packet(first, body)], said.client_id
                    if self.config.by == "user":
                        value = said.user
                    elif self.config.by == "topic":
                        value = await self._topic(reader, writer, version, waiting)
                places = self._places(value, said.client_id)
                found = await self._dialled(places) if places else None
                if found is None:
                    self._refuse(writer, version, UNAVAILABLE if places else NOT_AUTHORIZED)
                    return
            except (BadPacket, TimeoutError) as error:
                self._context.log.info("not MQTT", extra={"reason": str(error) or "too late"})
                self._refuse(writer, version, MALFORMED)
                return
            source, broker = found
            await self._begun(source, broker, waiting)
            self._routed.add()
            await asyncio.gather(_copy(reader, broker), _copy(source, writer))
        except (OSError, EOFError, BadPacket, TimeoutError):
            pass  # one of the two has left
        finally:
            for one in (writer, broker):
                if one is not None:
                    one.close()

    async def _packet(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        first = (await reader.readexactly(1))[0]
        digits = b""
        while (found := length_of(digits)) is None:
            digits += await reader.readexactly(1)
        if found[0] > self.config.max_packet_bytes:
            raise BadPacket("a packet is too long")
        return first, await reader.readexactly(found[0])

    async def _topic(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int, waiting: list[bytes]
    ) -> str:
        """The topic of the first packet that has one; that and those before it are added to `waiting`."""
        writer.write(accepted(version))
        while len(waiting) < MOST_BEFORE:
            first, body = await self._packet(reader)
            waiting.append(packet(first, body))
            if (name := topic(first, body, version)) is not None:
                return name
        raise BadPacket("no packet has a topic")

    async def _begun(
        self, source: asyncio.StreamReader, broker: asyncio.StreamWriter, waiting: list[bytes]
    ) -> None:
        """Sends a broker what the client has sent so far; the client was let in already if there was more than one."""
        broker.write(waiting[0])
        if self.config.by == "topic":
            async with asyncio.timeout(self.config.timeout):
                first, body = await self._packet(source)
            if not is_accepted(first, body):
                self._refused.add()
                raise BadPacket("the broker refuses the client")
            broker.write(b"".join(waiting[1:]))

    def _places(self, value: str, client_id: str) -> list[str]:
        """The brokers for a connection, in the order in which they are tried."""
        places = next((to for matches, to in self._rules if matches(value)), self.config.to)
        if not places:
            return []
        at = int.from_bytes(hashlib.blake2b(client_id.encode(), digest_size=8).digest(), "big") % len(places)
        return [*places[at:], *places[:at]]

    async def _dialled(self, places: list[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for one in places:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(self.config.connect_timeout):
                    return await asyncio.open_connection(*broker_address(one), limit=CHUNK)
            self._context.log.warning("a broker cannot be reached", extra={"broker": one})
        return None

    def _refuse(self, writer: asyncio.StreamWriter, version: int, reason: str) -> None:
        """Tells a client why it is cut off, unless it may have been let in before."""
        self._refused.add()
        if self.config.by != "topic":
            writer.write(refused(version, reason))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Passes bytes on until there are no more; raises `OSError` where the other side has left."""
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    finally:
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()


def _matcher(text: str) -> Any:
    if text.startswith("~"):
        pattern = Pattern(text[1:])
        return pattern.search
    if text.endswith("*"):
        return lambda value: value.startswith(text[:-1])
    return lambda value: value == text
