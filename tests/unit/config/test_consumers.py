"""Consumers as they are written, and as plugins find them."""

import pytest

from headgate.config.consumers import ConsumerConfig, plain_consumers
from headgate.config.errors import ConfigError
from headgate.config.model import GatewayConfig
from headgate.consumers import Consumers


def found(**consumers: object) -> Consumers:
    """Plugins' view of consumers."""
    config = GatewayConfig.parse({"consumers": consumers})
    made = Consumers()
    made.replace(plain_consumers(config.consumers, config.consumer_groups))
    return made


def test_algorithm_is_told_with_the_key() -> None:
    key = found(a={"jwt": {"id": "i", "algorithm": "ES256", "key": "pem"}}).jwt_key("i")
    assert key is not None and (key.algorithm, key.key, key.consumer.name) == ("ES256", "pem", "a")
    assert "pem" not in repr(key)


def test_what_replaces_consumers_leaves_nothing_of_them() -> None:
    consumers = found(a={"keys": "k", "basic": {"username": "u", "password": "p"}, "certificates": "ab" * 32})
    assert len(consumers) == 1 and consumers.with_key("k") == consumers.named("a")
    consumers.replace({})
    assert len(consumers) == 0
    assert (
        consumers.with_key("k")
        is consumers.with_password("u", "p")
        is consumers.with_certificate("ab" * 32)
        is None
    )


@pytest.mark.parametrize(
    ("consumers", "message"),
    [
        ({"a": "same-key", "b": ["other", "same-key"]}, "consumers `a` and `b` have the same key"),
        ({"a b": "k"}, "`a b` is not a valid consumer name"),
        ({"a": {"keys": "sha256:12"}}, "a key is not a SHA-256 hash in hex"),
        ({"a": {"certificates": "12"}}, "is not a valid SHA-256 fingerprint"),
        (
            {"a": {"hmac": [{"id": "i", "secret": "s"}, {"id": "i", "secret": "t"}]}},
            "a HMAC key is given twice",
        ),
        ({"a": {"basic": {"username": "u:v", "password": "p"}}}, "username"),
        ({"a": {"keys": "env:NOT_THERE_AT_ALL"}}, "`NOT_THERE_AT_ALL` is not set"),
        ({"a": {"keys": ""}}, "a secret is empty"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_without_showing_it(consumers: object, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        GatewayConfig.parse({"consumers": consumers})
    assert message in str(refused.value)
    assert "same-key" not in str(refused.value)


def test_keys_alone_are_the_short_form() -> None:
    assert ConsumerConfig.parse("k") == ConsumerConfig.parse({"keys": ["k"]})
