"""Secrets in documents are masked wherever and however they are written."""

from pathlib import Path
from typing import Any

import pytest

from headgate import ConfigError
from headgate.compile.masking import has_mask, masked
from headgate.config.model import GatewayConfig
from headgate.config.secrets import MASK
from headgate.plugins import key_auth, quota

assert key_auth and quota  # loaded, so that its settings are known


@pytest.mark.parametrize(
    ("kind", "document", "shown"),
    [
        ("consumers", {"keys": "s"}, {"keys": MASK}),
        ("consumers", {"keys": ["s", "env:KEY"]}, {"keys": [MASK, "env:KEY"]}),
        ("consumers", {"keys": {"a": "s"}}, {"keys": {"a": MASK}}),
        ("consumers", {"keys": 5}, {"keys": MASK}),
        ("consumers", {"jwt": {"id": "i", "key": "s"}}, {"jwt": {"id": "i", "key": MASK}}),
        ("consumers", {"jwt": [{"id": "i", "key": "file:/s"}]}, {"jwt": [{"id": "i", "key": "file:/s"}]}),
        ("consumers", {"jwt": "s"}, {"jwt": MASK}),
        ("consumers", {"groups": "g", "labels": {"a": "b"}}, {"groups": "g", "labels": {"a": "b"}}),
        (
            "plugins",
            {"plugin": "key-auth", "config": {"keys": {"a": "s", "b": ["s"]}, "header": "x"}},
            {"plugin": "key-auth", "config": {"keys": {"a": MASK, "b": [MASK]}, "header": "x"}},
        ),
        (
            "plugins",
            {"plugin": "not_loaded:Plugin", "config": {"a": "s", "b": [1, True, None]}},
            {"plugin": "not_loaded:Plugin", "config": {"a": MASK, "b": [MASK, True, None]}},
        ),
        ("routes", {"path": "/", "respond": "s"}, {"path": "/", "respond": "s"}),
        ("nothing", {"a": {"b": "s"}}, {"a": {"b": MASK}}),
        (
            "consumers",
            {"jwt": {"id": "i", "algorithm": "ES256", "key": "s"}},
            {"jwt": {"id": "i", "algorithm": "ES256", "key": MASK}},
        ),
        (
            "plugin-sets",
            {"plugins": ["cors", {"plugin": "key-auth", "config": {"keys": {"a": "s", "b": "env:B"}}}]},
            {"plugins": ["cors", {"plugin": "key-auth", "config": {"keys": {"a": MASK, "b": "env:B"}}}]},
        ),
        (
            "plugins",
            {
                "plugin": "quota",
                "config": {"amount": 1, "redis": "redis://me:s@host/0", "file": "http://a:1/@"},
            },
            {
                "plugin": "quota",
                "config": {"amount": 1, "redis": f"redis://me:{MASK}@host/0", "file": "http://a:1/@"},
            },
        ),
        (
            "routes",
            {"respond": {"body": "-----BEGIN EC PRIVATE KEY-----\ns\n-----END EC PRIVATE KEY-----\n"}},
            {"respond": {"body": f"{MASK}\n"}},
        ),
    ],
)
def test_what_is_secret_is_masked_and_nothing_else(
    kind: str, document: dict[str, Any], shown: dict[str, Any]
) -> None:
    assert masked(kind, document) == shown


def test_a_mask_in_the_place_of_a_secret_is_noticed() -> None:
    assert has_mask("consumers", {"keys": ["a", MASK]})
    assert not has_mask("consumers", {"groups": [MASK]})
    assert not has_mask("routes", {"path": "/", "respond": MASK})
    assert has_mask("plugin-sets", {"plugins": [{"plugin": "key-auth", "config": {"keys": {"a": MASK}}}]})
    assert has_mask("plugins", {"plugin": "quota", "config": {"redis": f"redis://:{MASK}@host"}})


PLANTED = "PLANTED-5550001"


@pytest.mark.parametrize(
    "given",
    [
        {"consumers": PLANTED},
        {"consumers": [PLANTED]},
        {"consumers": {"a": {"keys": [{"a": PLANTED}]}}},
        {"consumers": {"a": {"keys": f"sha256:{PLANTED}"}}},
        {"consumers": {"a": {"keys": PLANTED, "key": PLANTED}}},
        {"consumers": {"a": {"keys": 5550001}}},
        {"consumers": {"a": {"basic": PLANTED}}},
        {"consumers": {"a": {"basic": {"username": "a:b", "password": PLANTED}}}},
        {"consumers": {"a": {"jwt": [PLANTED]}}},
        {"consumers": {"a": {"hmac": [["id", PLANTED]]}}},
        {"store": [PLANTED]},
        {"store": f"nothing://me:{PLANTED}@host", "workers": -1},
        {"admin": {"listen": "unix:/x", "tokens": [[PLANTED]]}},
        {"admin": {"listen": "unix:/x", "tokens": {"token": [PLANTED]}}},
        {"acme": {"eab": PLANTED}},
        {"upstreams": {"a": f"http://me:{PLANTED}@host"}},
        {"plugins": [{"plugin": "key-auth", "config": PLANTED}]},
        {"plugins": [{"plugin": "key-auth", "config": [PLANTED]}]},
    ],
)
def test_no_refusal_shows_what_stands_where_a_secret_is_to_be(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        GatewayConfig.parse(given)
    assert "5550001" not in str(refused.value), refused.value


@pytest.mark.parametrize(
    "keys", [PLANTED, [PLANTED], {"a": {"b": PLANTED}}, {"a": [[PLANTED]]}, {"a": 5550001}, {"a": None}]
)
def test_no_refusal_of_a_plugin_shows_its_secrets(keys: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        key_auth.KeyAuth(keys=keys)
    assert "5550001" not in str(refused.value), refused.value


def test_secrets_of_plugins_may_lie_in_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{PLANTED}\n")
    plugin = key_auth.KeyAuth(keys={"a": f"file:{tmp_path}/key", "b": ["other", f"file:{tmp_path}/key"]})
    assert plugin.config.keys["a"].get_secret_value() == PLANTED
    assert [one.get_secret_value() for one in plugin.config.keys["b"]] == ["other", PLANTED]
    with pytest.raises(ConfigError, match="cannot be read: no such file"):
        key_auth.KeyAuth(keys={"a": f"file:{tmp_path}/gone"})
