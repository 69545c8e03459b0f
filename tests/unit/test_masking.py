"""Secrets in documents are masked wherever and however they are written."""

from typing import Any

import pytest

from headgate.compile.masking import has_mask, masked
from headgate.config.secrets import MASK
from headgate.plugins import key_auth

assert key_auth  # loaded, so that its settings are known


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
