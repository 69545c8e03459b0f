from typing import Any

import pytest

from headgate.config._yaml import load as yaml_values
from headgate.config.addresses import parse_listen_address
from headgate.config.errors import ConfigError
from headgate.config.model import GatewayConfig
from headgate.config.overlaps import overlap
from headgate.config.sockets import parse_mode


@pytest.mark.parametrize("written", ["0660", "660", "0o660", 0o660, 660])
def test_a_mode_is_octal_however_it_is_written(written: Any) -> None:
    assert parse_mode(written) == 0o660


@pytest.mark.parametrize("written", ["0680", "rw", "", -1, 0o060, "0400", 680, 1000, True, None, 6.0])
def test_a_mode_that_is_none_or_locks_the_owner_out_is_refused(written: Any) -> None:
    with pytest.raises(ConfigError, match="is not a valid mode of a socket"):
        parse_mode(written)


@pytest.mark.parametrize("written", ["0400", "400", "0o400", "440", "0060", "'0400'"])
def test_digits_of_a_mode_in_yaml_are_octal(written: str) -> None:
    document = yaml_values(f"listeners: {{address: 'unix:/a', mode: {written}}}")
    with pytest.raises(ConfigError, match="is not a valid mode of a socket") as error:
        GatewayConfig.parse(document, is_in_file=True)
    assert error.value.hint and '"0660"' in error.value.hint


@pytest.mark.parametrize("written", ["0660", "660", "0o660", "'0660'"])
def test_a_mode_in_yaml_may_be_written_in_any_way(written: str) -> None:
    document = yaml_values(f"listeners: {{address: 'unix:/a', mode: {written}}}")
    assert GatewayConfig.parse(document, is_in_file=True).listeners[0].mode == 0o660


def test_a_mode_in_python_is_its_value() -> None:
    assert (
        GatewayConfig.parse({"listeners": {"address": "unix:/a", "mode": 0o620}}).listeners[0].mode == 0o620
    )


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (":80", "127.0.0.1:80", True),
        ("127.0.0.1:80", ":80", True),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("[::]:80", "[::1]:80", True),
        (":80", "[::1]:80", True),
        ("0.0.0.0:80", "[::]:80", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("127.0.0.1:80", ":81", False),
        (":0", ":0", False),
        ("[::1]:80", "[0:0::1]:80", True),
        ("localhost:80", "localhost:80", True),
        ("unix:/a", "unix:/a", True),
        ("unix:/a", ":80", False),
    ],
)
def test_addresses_overlap_when_the_second_cannot_be_bound(one: str, other: str, expected: bool) -> None:
    assert overlap(parse_listen_address(one), parse_listen_address(other)) is expected


@pytest.mark.parametrize("keys", [("listeners", "listeners"), ("listeners", "tcp"), ("udp", "udp")])
def test_a_part_of_another_listener_is_refused_at_load(keys: tuple[str, str]) -> None:
    listeners: dict[str, list[Any]] = {}
    for key, address in zip(keys, (":8080", "127.0.0.1:8080"), strict=True):
        entry: Any = {"address": address} if key == "listeners" else {"address": address, "to": "10.0.0.1:1"}
        listeners.setdefault(key, []).append(entry)
    with pytest.raises(
        ConfigError, match=r"`127\.0\.0\.1:8080` is part of `:8080`, where this gateway listens"
    ):
        GatewayConfig.parse(listeners)


def test_a_mode_needs_a_unix_socket() -> None:
    with pytest.raises(ConfigError, match="`:8080` is not a Unix socket, so it has no mode"):
        GatewayConfig.parse({"listeners": {"address": ":8080", "mode": "0660"}})
