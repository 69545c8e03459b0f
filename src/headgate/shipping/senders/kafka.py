"""Lines as messages of a topic of Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka

from headgate.shipping.senders import Refused, TooLarge, Unavailable
from headgate.shipping.target import Target

REFUSALS = (kafka.InvalidTopicError, kafka.UnsupportedForMessageFormatError)
"""What no time mends."""
TOO_LARGE = (kafka.MessageSizeTooLargeError, kafka.RecordListTooLargeError, kafka.RecordTooLargeError)


class KafkaSender:
    """A producer that is made when there is something to send, and anew after a failure.

    A line is through when all replicas in sync have it. The producer numbers what it sends, so that what it repeats by
    itself is not there twice; what is sent again after a failure may be.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._tls = ssl.create_default_context(cafile=target.ca) if target.transport == "tls" else None
        self._producer: AIOKafkaProducer | None = None
        self._ending: set[asyncio.Task[None]] = set()
        # it logs each attempt of its own; what comes of them is logged by the target
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

    async def send(self, lines: list[bytes]) -> int:
        """See `Sender`."""
        try:
            producer = await self._started()
            waiting = [await producer.send(self._target.path, line) for line in lines]
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        except TOO_LARGE as error:
            self.close()
            raise TooLarge(_reason(error)) from None
        except kafka.KafkaError as error:
            self.close()
            raise Unavailable(_reason(error)) from None
        except BaseException:
            self.close()
            raise
        failures = [(place, one) for place, one in enumerate(outcomes) if isinstance(one, BaseException)]
        if not failures:
            return len(lines)
        done, failure = failures[0]
        self.close()
        if done:
            return done  # the next try finds out what is wrong with the one after
        if isinstance(failure, TOO_LARGE):
            raise TooLarge(_reason(failure))
        if isinstance(failure, REFUSALS):
            raise Refused(_reason(failure))
        raise Unavailable(_reason(failure))

    def close(self) -> None:
        """See `Sender`."""
        producer, self._producer = self._producer, None
        if producer is not None:
            ending = asyncio.ensure_future(_end(producer))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            target = self._target
            options: dict[str, Any] = {}
            if target.user:
                options = {
                    "sasl_mechanism": target.sasl.upper(),
                    "sasl_plain_username": target.user,
                    "sasl_plain_password": target.password,
                }
            protocol = ("SASL_" if target.user else "") + ("SSL" if self._tls else "PLAINTEXT")
            producer = self._producer = AIOKafkaProducer(
                bootstrap_servers=target.host.split(","),
                client_id="headgate",
                security_protocol=protocol,
                ssl_context=self._tls,
                acks="all",
                enable_idempotence=True,
                request_timeout_ms=max(int(target.timeout * 1000), 1000),
                max_request_size=max(target.batch_bytes, 1 << 20),
                max_batch_size=1 << 18,
                **options,
            )
            await producer.start()
        return self._producer


async def _end(producer: AIOKafkaProducer) -> None:
    """Closes its connections; what it still holds is sent again by its successor, and not waited for."""
    with contextlib.suppress(Exception):
        await producer.client.close()
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await asyncio.wait_for(producer.stop(), 1.0)


def _reason(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return f"{type(error).__name__}: {text}" if type(error).__name__ not in text else text
