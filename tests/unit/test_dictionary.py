"""The shared dictionary as Python has it: kinds of values, errors, two mappings of one memory."""

import math
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate._core import Dictionary, create_dictionary


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = create_dictionary(1 << 20)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def dictionary(memory: int) -> Dictionary:
    return Dictionary(memory)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=10,
)
SHARED = create_dictionary(1 << 20)


@given(JSON | st.binary(max_size=300))
def test_a_value_comes_back_with_its_type(value: object) -> None:
    dictionary = Dictionary(SHARED)
    dictionary.set("key", value)
    back = dictionary.get("key")
    assert back == value and type(back) is type(value)


def test_texts_that_are_no_unicode_survive(dictionary: Dictionary) -> None:
    key = b"\xff".decode(errors="surrogateescape")
    dictionary.set(key, key)
    assert dictionary.get(b"\xff") == key
    assert dictionary.keys() == [key]


def test_two_mappings_are_one_dictionary(memory: int, dictionary: Dictionary) -> None:
    other = Dictionary(memory)
    dictionary.set("a", 1)
    assert other.incr("a", 2) == 3
    assert (len(dictionary), "a" in dictionary, dictionary.get("a")) == (1, True, 3)


def test_incr_begins_at_init_and_only_then_sets_the_time(dictionary: Dictionary) -> None:
    assert dictionary.incr("n") == 1
    assert dictionary.incr("n", ttl=5) == 2
    assert dictionary.ttl("n") == math.inf
    assert dictionary.incr("m", 0.5, init=10, ttl=5) == 10.5
    assert 4 < (dictionary.ttl("m") or 0) <= 5.01
    with pytest.raises(KeyError, match="absent"):
        dictionary.incr("absent", init=None)
    assert dictionary.ttl("absent") is None


def test_lists_have_two_ends(dictionary: Dictionary) -> None:
    assert [dictionary.rpush("q", value) for value in (1, {"two": 2}, b"three")] == [1, 2, 3]
    assert dictionary.lpush("q", None) == 4
    assert dictionary.llen("q") == 4
    assert dictionary.lpop("q") is None
    assert [dictionary.rpop("q"), dictionary.rpop("q"), dictionary.lpop("q")] == [b"three", {"two": 2}, 1]
    assert dictionary.lpop("q", "empty") == "empty"
    assert "q" not in dictionary


def test_what_is_wrong_is_said(dictionary: Dictionary) -> None:
    dictionary.rpush("list", 1)
    dictionary.set("text", "x")
    for wrong, kind, told in (
        (lambda: dictionary.get("list"), TypeError, "a list"),
        (lambda: dictionary.lpop("text"), TypeError, "no list"),
        (lambda: dictionary.incr("text"), TypeError, "not a number"),
        (lambda: dictionary.incr("n", True), TypeError, "not `bool`"),
        (lambda: dictionary.incr("n", 1 << 70), OverflowError, "64 bits"),
        (lambda: dictionary.set("x", object()), TypeError, "what JSON can say"),
        (lambda: dictionary.set("x", 1, ttl=-1), ValueError, "is not a valid time to live"),
        (lambda: dictionary.set("x", 1, ttl=math.nan), ValueError, "is not a valid time to live"),
        (lambda: dictionary.set("", 1), ValueError, "1 to 65535 bytes"),
        (lambda: dictionary.set(5, 1), TypeError, "not `int`"),  # type: ignore[arg-type]
        (lambda: dictionary.set("x", b"x" * (1 << 20)), ValueError, "make it larger"),
        (lambda: create_dictionary(1), ValueError, "16k to 64g"),
        (lambda: Dictionary(0), ValueError, "not a dictionary"),
    ):
        with pytest.raises(kind, match=told):  # type: ignore[arg-type]
            wrong()
    assert sorted(dictionary.keys()) == ["list", "text"]


def test_flush_and_sizes(dictionary: Dictionary) -> None:
    assert dictionary.capacity == 1 << 20
    free = dictionary.free_space
    for number in range(100):
        dictionary.set(f"key {number}", "x" * 100)
    assert dictionary.free_space < free
    assert len(dictionary.keys(10)) == 10 and len(dictionary.keys(None)) == 100
    assert dictionary.flush_expired() == 0
    assert dictionary.flush_all() == 100
    assert (len(dictionary), dictionary.free_space, dictionary.evictions, dictionary.repairs) == (
        0,
        free,
        0,
        0,
    )


def test_a_named_lock_has_one_holder(memory: int, dictionary: Dictionary) -> None:
    other = Dictionary(memory)
    assert dictionary._acquire("lock", 1)
    assert not other._acquire("lock", 2)
    assert not other._release("lock", 2)
    assert dictionary._release("lock", 1)
    assert other._acquire("lock", 2, 30.0)


def test_a_forked_child_is_another_holder(memory: int, dictionary: Dictionary) -> None:
    assert dictionary._acquire("lock", 1)
    child = os.fork()
    if child == 0:
        os._exit(17 if dictionary._acquire("lock", 1) else 18)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 18
    child = os.fork()
    if child == 0:
        dictionary._acquire("of the child", 1)
        os._exit(0)
    os.waitpid(child, 0)
    assert dictionary._acquire("of the child", 1), "its holder is dead"


def test_throttle_lets_a_burst_in_and_tells_the_others_how_long_to_wait(dictionary: Dictionary) -> None:
    buckets = dictionary
    told = [buckets.throttle("client", 0.5, 1.0, 100.0) for _ in range(3)]
    assert told == [(0.0, 0.5), (0.0, 1.0), (0.5, 1.0)]
    assert buckets.throttle("client", 0.5, 1.0, 100.5) == (0.0, 1.0)
    assert buckets.throttle("other", 0.5, 1.0)[0] == 0.0  # by the system's clock
    assert 0 < buckets.throttle("other", 60, 60)[0] <= 60.5


@pytest.mark.parametrize(
    ("step", "depth", "now", "message"),
    [
        (0.0, 1.0, 1.0, "more than 0"),
        (1.0, float("nan"), 1.0, "more than 0"),
        (1.0, 1e9, 1.0, "at most ten years"),
        (1.0, 1.0, float("inf"), "is not a time"),
    ],
)
def test_throttle_refuses_what_is_no_rate(
    dictionary: Dictionary, step: float, depth: float, now: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dictionary.throttle("client", step, depth, now)


def test_throttle_refuses_what_is_no_bucket(dictionary: Dictionary) -> None:
    dictionary.set("text", "x")
    with pytest.raises(TypeError, match="text"):
        dictionary.throttle("text", 1.0, 1.0)
