"""How requests are printed for people."""

from typing import Any

import pytest

from headgate.cli.log_lines import print_trace

ENTRY: dict[str, Any] = {
    "time": "2026-01-02T03:04:05.678Z", "client": "192.0.2.7", "method": "GET", "host": "gate.test", "target": "/slow",
    "status": 200, "route": "slow", "upstream": "", "server": "", "attempts": 0, "limit": "", "error": "",
    "total_us": 302_000, "hook_us": 301_500, "hooks": [], "steps": [], "request_id": "abc", "trace_id": "",
}  # fmt: skip
HOOK = {"phase": "request", "hook": "gate.py:slow", "us": 301_500, "begin_us": 1, "end_us": 301_501}


@pytest.mark.parametrize(
    ("changed", "is_told"), [({}, True), ({"hook_us": 0}, False), ({"hooks": [HOOK]}, False)]
)
def test_hooks_that_nobody_timed_one_by_one_are_told_as_a_sum(
    capsys: pytest.CaptureFixture[str], changed: dict[str, Any], is_told: bool
) -> None:
    print_trace({**ENTRY, **changed})
    shown = capsys.readouterr().out
    assert ("hooks 301.500 ms in all, not one by one" in shown) == is_told
    assert ("request gate.py:slow" in shown) == ("hooks" in changed)
