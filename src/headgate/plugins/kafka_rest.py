"""Kafka by HTTP: POST produces messages, GET reads them."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response

from ._bodies import BadBody, decoded, media_type, parsed_json
from ._kafka import Brokers, KafkaAway, Message, library, security
from ._numbers import to_json
from ._services import Trouble

TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
SERVER = re.compile(r"[^\s,/@]+:[0-9]{1,5}")
NUMBER = re.compile(r"[0-9]{1,18}")
MOST_HEADERS = 50
MEMBERS = {"value", "key", "partition", "headers", "encoding"}


class KafkaRest(Plugin):
    """Produces messages of Kafka by POST, and reads them by GET, at `PREFIX/TOPIC`; use it `on` these paths.

    `POST` of `{"records": [{"key": "a", "value": {"n": 1}, "partition": 0, "headers": {"x": "y"}}]}` replies with an
    entry for each record: its `partition` and `offset`, or an `error`; the status is 200 if all were taken by all
    replicas in sync, else 502. A value that is a text is sent as it is, with `"encoding": "base64"` as the bytes that
    it stands for, and any other as its JSON. A body of another type than JSON is one message. `GET
    ?partition=0&offset=42&max=100&wait=5` gives `{"records": [...], "next": 143}`, at the latest after `wait` seconds;
    `offset` may be `earliest` or `latest`. There are no groups of consumers: who reads keeps `next`. Only listed topics
    are there. While no broker responds the status is 503.
    """

    order = 700
    acts = True

    class Config(BaseModel):
        """Settings of `kafka-rest`."""

        model_config = ConfigDict(extra="forbid")

        servers: list[str] = Field(min_length=1, description="Brokers to begin with, as `10.0.0.9:9092`.")
        produce: list[str] = Field(default=[], description="Topics that can be written.")
        consume: list[str] = Field(default=[], description="Topics that can be read.")
        prefix: str = Field(
            default="/topics", pattern=r"^(/[A-Za-z0-9._~-]+)*$", description="The path before."
        )
        user: str = Field(default="", description="The user of SASL; empty: none.")
        password: SecretStr = Field(default=SecretStr(""), description="Its password.")
        sasl: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
            default="SCRAM-SHA-512", description="The mechanism of SASL."
        )
        tls: bool = Field(default=False, description="Whether brokers are spoken to with TLS.")
        ca: str | None = Field(default=None, description="A file of authorities for it; null: the system's.")
        max_body_bytes: int = Field(default=1_048_576, ge=1, description="The most bytes of a body, decoded.")
        max_records: int = Field(default=500, ge=1, le=100_000, description="The most messages of a request.")
        max_wait: float = Field(default=30, ge=0, description="The most seconds that a GET may wait.")
        max_readers: int = Field(
            default=16, ge=1, le=1000, description="How many GETs of a worker read at once; others wait."
        )
        timeout: float = Field(default=5, gt=0, description="Seconds for the brokers.")

        @field_validator("servers")
        @classmethod
        def _servers(cls, servers: list[str]) -> list[str]:
            for one in servers:
                if not SERVER.fullmatch(one):
                    raise ConfigError(f"`{one}` is not the address of a broker", hint="write `10.0.0.9:9092`")
            return servers

        @model_validator(mode="after")
        def _topics(self) -> KafkaRest.Config:
            for one in (*self.produce, *self.consume):
                if not TOPIC.fullmatch(one) or one in (".", ".."):
                    raise ConfigError(
                        f"`{one}` is not a valid name of a topic", hint="letters, digits, `._-`"
                    )
            if not self.produce and not self.consume:
                raise ConfigError("there are no topics", hint="list them in `produce` or `consume`")
            if self.ca is not None and not self.tls:
                raise ConfigError("`ca` is of no use without TLS", hint="set `tls: true`")
            return self

    def setup(self, context: PluginContext) -> None:
        """Prepares what the clients of Kafka are made with."""
        config = self.config
        library()
        try:
            secure = security(
                config.user, config.password.get_secret_value(), config.sasl, config.tls, config.ca
            )
        except OSError as error:
            raise ConfigError(f"`{config.ca}` cannot be read: {error}", hint=None) from None
        self._options = {"bootstrap_servers": config.servers, "client_id": "headgate", **secure}
        self._brokers: Brokers | None = None
        self._produced, self._consumed = context.counter("produced"), context.counter("consumed")
        self._away = Trouble(
            context, "broker_failures", "no broker of Kafka is available", "a broker is available again"
        )

    async def request(self, request: Request) -> Response:
        """Produces or reads."""
        prefix, _, topic = request.path.rpartition("/")
        is_read = request.method in ("GET", "HEAD")
        topics = self.config.consume if is_read else self.config.produce
        if prefix != self.config.prefix or topic not in {*self.config.produce, *self.config.consume}:
            return _refusal(404, "there is no such topic")
        if topic not in topics or not (is_read or request.method == "POST"):
            allowed = ("GET",) * (topic in self.config.consume) + ("POST",) * (topic in self.config.produce)
            reply = _refusal(405, "the topic cannot be used so")
            reply.headers["allow"] = ", ".join(allowed)
            return reply
        try:
            reply = await (self._read(request, topic) if is_read else self._produce(request, topic))
        except BadBody as error:
            return _refusal(error.status, str(error))
        except LookupError as error:
            return _refusal(416, str(error.args[0]))
        except KafkaAway as error:
            self._away.begin(str(error))
            reply = _refusal(503, "no broker is available")
            reply.headers["retry-after"] = "1"
            return reply
        self._away.end()
        return reply

    async def close(self) -> None:
        """Ends the connections."""
        if self._brokers is not None:
            await self._brokers.close()

    def _connected(self) -> Brokers:
        if self._brokers is None:
            config = self.config
            self._brokers = Brokers(
                self._options,
                timeout=config.timeout,
                max_bytes=max(config.max_body_bytes, 1024) + 1024,
                max_readers=config.max_readers,
            )
        return self._brokers

    async def _produce(self, request: Request, topic: str) -> Response:
        body = await decoded(request, self.config.max_body_bytes)
        kind = media_type(request)
        if kind is None or not kind.is_json:
            messages = [Message(body, None, None, [])]
        else:
            messages = _messages(parsed_json(body, keeps_numbers=True), self.config.max_records)
        places = await self._connected().produce(topic, messages)
        shown = [{"error": one} if isinstance(one, str) else one._asdict() for one in places]
        taken = sum(1 for one in places if not isinstance(one, str))
        self._produced.add(taken)
        return Response.json({"records": shown}, 200 if taken == len(places) else 502)

    async def _read(self, request: Request, topic: str) -> Response:
        config, asked = self.config, request.query_params
        partition = _number(asked.get("partition", "0"), "partition", 1_000_000)
        most = _number(asked.get("max", str(min(100, config.max_records))), "max", config.max_records)
        wait = _number(asked.get("wait", "0"), "wait", int(config.max_wait))
        said = asked.get("offset", "latest")
        is_named = said in ("earliest", "latest")
        offset = said if is_named else _number(said, "offset", 1 << 62)
        found, behind = await self._connected().read(topic, partition, offset, max(most, 1), wait)
        self._consumed.add(len(found))
        return Response.json({"records": [_shown(one) for one in found], "next": behind})


def _messages(whole: Any, most: int) -> list[Message]:
    records = whole.get("records") if isinstance(whole, dict) else None
    if not isinstance(records, list) or not records:
        raise BadBody("`records` is not a list of messages")
    if len(records) > most:
        raise BadBody("there are too many records", 413)
    return [_message(one) for one in records]


def _message(said: Any) -> Message:
    if not isinstance(said, dict) or not said.keys() <= MEMBERS or "value" not in said:
        raise BadBody(f"a record is an object of {', '.join(sorted(MEMBERS))}")
    encoding, partition, headers = said.get("encoding"), said.get("partition"), said.get("headers", {})
    if encoding not in (None, "base64"):
        raise BadBody("the `encoding` of a record is not `base64`")
    if partition is not None and (type(partition) is bool or not re.fullmatch("[0-9]{1,6}", str(partition))):
        raise BadBody("the `partition` of a record is not a number")
    if not isinstance(headers, dict) or len(headers) > MOST_HEADERS:
        raise BadBody("the `headers` of a record are not an object of texts")
    if not all(isinstance(value, str) for value in headers.values()):
        raise BadBody("the `headers` of a record are not an object of texts")
    return Message(
        _bytes(said["value"], encoding),
        _bytes(said.get("key"), encoding),
        None if partition is None else int(str(partition)),
        [(name, value.encode()) for name, value in headers.items()],
    )


def _bytes(value: Any, encoding: str | None) -> bytes | None:
    if value is None:
        return None
    if encoding is None:
        return (value if isinstance(value, str) else to_json(value)).encode()
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise BadBody("a record is not base64") from None


def _number(text: str, name: str, most: int) -> int:
    if not NUMBER.fullmatch(text) or int(text) > most:
        raise BadBody(f"`{name}` is not a number up to {most}")
    return int(text)


def _shown(message: Any) -> dict[str, Any]:
    """A message as JSON; with bytes that are not UTF-8 all of it is base64."""
    parts = {"key": message.key, "value": message.value}
    shown: dict[str, Any] = {
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": message.timestamp,
    }
    try:
        shown |= {name: None if one is None else one.decode() for name, one in parts.items()}
    except UnicodeDecodeError:
        shown |= {
            name: None if one is None else base64.b64encode(one).decode() for name, one in parts.items()
        }
        shown["encoding"] = "base64"
    if message.headers:
        shown["headers"] = {
            name: (value or b"").decode("utf-8", "replace") for name, value in message.headers
        }
    return shown


def _refusal(status: int, text: str) -> Response:
    return Response(status, json.dumps({"error": text}), headers=[("content-type", "application/json")])
