"""Sizes and durations: what is read, what is refused, and that what is shown reads back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.config.errors import ConfigError
from headgate.config.units import milliseconds, parse_duration, parse_size, shown_duration


@pytest.mark.parametrize(
    ("text", "size"),
    [(0, 0), (512, 512), ("512", 512), ("64k", 65536), ("64K", 65536), ("16m", 1 << 24), ("1g", 1 << 30),
     ("1 GiB", 1 << 30), ("2kb", 2048)],
)  # fmt: skip
def test_sizes_are_powers_of_1024(text: Any, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "-1", -1, "1.5m", "1t", True, None, "1e3", "٣k x"])
def test_what_is_no_size_is_refused_by_name(text: Any) -> None:
    with pytest.raises(ConfigError, match="is not a size") as refused:
        parse_size(text)
    assert f"`{text}`" in refused.value.message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(5, 5.0), (0.5, 0.5), ("5", 5.0), ("5s", 5.0), ("500ms", 0.5), ("1m", 60.0), ("1.5m", 90.0), ("2h", 7200.0),
     ("1d", 86400.0)],
)  # fmt: skip
def test_durations_are_seconds(text: Any, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "-5s", -1, "5 parsecs", True, None, float("nan"), float("inf"), "99999d"]
)
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_duration(text)


def test_a_short_wait_does_not_become_none() -> None:
    assert milliseconds(0.0001) == 1
    assert milliseconds(0) == 0


@given(st.integers(min_value=1, max_value=10**10))
def test_a_shown_duration_reads_back_the_same(ms: int) -> None:
    assert milliseconds(parse_duration(shown_duration(ms / 1000))) == ms
