"""How long a target that is busy wants to be left alone."""

import pytest

from headgate.shipping.senders.http import LONGEST_WAIT_S, pause_s

NOW_S = 784_111_767.0
"""Sun, 06 Nov 1994 08:49:27 GMT."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", 10.0),
        ("0", 0.0),
        ("9" * 400, LONGEST_WAIT_S),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 10.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 10.0),
        ("Sun Nov  6 08:49:37 1994", 10.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),
        ("Sun, 06 Nov 2094 08:49:37 GMT", LONGEST_WAIT_S),
        ("soon", 0.0),
        ("", 0.0),
        ("-1", 0.0),
        ("٣", 0.0),
        ("Sun, 99 Nov 1994 99:99:99 GMT", 0.0),
    ],
)
def test_a_pause_is_seconds_or_a_date(text: str, expected: float) -> None:
    assert pause_s(text, NOW_S) == expected
