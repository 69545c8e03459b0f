"""What is kept in a store is encrypted."""

import json

import pytest

from headgate.acme.mirror import Mirror, key_of, path_of
from headgate.acme.sealing import Seal, SealError
from headgate.config.acme import AcmeConfig
from headgate.config.errors import ConfigError
from headgate.stores import Change, Changes, Key, Revision

OLD, NEW = "o" * 32, "n" * 32


def test_sealed_documents_show_nothing_and_open_again() -> None:
    seal = Seal([OLD])
    one, two = (seal.seal("accounts/a", b"PRIVATE KEY") for _ in "ab")
    assert "PRIVATE" not in json.dumps(one) and OLD not in json.dumps(one)
    assert one["sealed"] != two["sealed"], "equal contents do not show that they are"
    assert seal.open("accounts/a", one) == b"PRIVATE KEY"


def test_keys_are_rotated_by_putting_the_new_one_first() -> None:
    old, both, new = Seal([OLD]), Seal([NEW, OLD]), Seal([NEW])
    document = old.seal("state/x", b"content")
    assert both.open("state/x", document) == b"content" and not both.is_current(document)
    again = both.seal("state/x", b"content")
    assert both.is_current(again) and new.open("state/x", again) == b"content"
    with pytest.raises(SealError, match=r"another key; hint: add it to `acme\.store_keys`"):
        new.open("state/x", document)


@pytest.mark.parametrize("sealed", ["", "AAAA", "!", None, 7])
def test_documents_that_were_changed_or_moved_are_refused(sealed: object) -> None:
    seal = Seal([OLD])
    document = seal.seal("certificates/a.test.pem", b"content")
    with pytest.raises(SealError, match="was changed by somebody without the key"):
        seal.open("certificates/b.test.pem", document)
    with pytest.raises(SealError):
        seal.open("certificates/a.test.pem", {**document, "sealed": sealed})


@pytest.mark.parametrize(
    "path",
    [
        "state.json",
        "accounts/x.json",
        "certificates/_.a.test.rsa.pem",
        "challenges/http/T-_1",
        "on_demand/a.pem",
    ],
)
def test_files_have_keys_and_keys_files(path: str) -> None:
    key = key_of(path)
    assert key is not None and path_of(key) == path


@pytest.mark.parametrize(
    "key",
    [
        Key("certificates", "../x"),
        Key("certificates", "a/b"),
        Key("certificates", ".hidden"),
        Key("challenges", "http/../../x"),
        Key("challenges", "x"),
        Key("challenges", "other/x"),
        Key("state", "a\0b"),
        Key("state", "lock"),
        Key("state", "on_demand.lock"),
        Key("locks", "lock"),
        Key("routes", "a"),
    ],
)
def test_keys_lead_nowhere_else(key: Key) -> None:
    assert path_of(key) is None


def test_files_of_a_node_alone_are_not_shared() -> None:
    assert [key_of(path) for path in ("wanted/a.test", "lock", ".probe", "accounts/")] == [None] * 4


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"store": "redis://a"}, "`store` without `store_keys`"),
        ({"store_keys": OLD}, "`store_keys` without `store`"),
        ({"store": "redis://a", "store_keys": [OLD, "short"]}, "fewer than 32 characters"),
    ],
)
def test_store_needs_keys(said: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        AcmeConfig.parse(said)
    made = AcmeConfig.parse({"store": "redis://:secret@a", "store_keys": OLD})
    assert OLD not in repr(made) + made.model_dump_json() and "secret" not in repr(made)


@pytest.mark.parametrize("number", ["x", None, [], True, 1e999, {}])
def test_what_others_say_to_have_seen_is_a_number_or_nothing(number: object) -> None:
    mirror = Mirror(Seal(["x" * 32]), lambda path, content: None, lambda path: None)
    mirror.take(Changes(Revision("epoch", 5, "mark"), (Change(Key("seen", "a"), {"number": number}, 5),)))
    assert mirror.seen("a") == 0
