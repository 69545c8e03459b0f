"""What others have written does not play with the terminal of who reads it."""

import pytest

from headgate.cli.failing import fail
from headgate.cli.printable import printable
from headgate.cli.resource_tables import print_diff, print_history, print_plan, print_resources

HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\r\x7f\u202eX"


def test_all_that_is_not_printable_is_escaped() -> None:
    shown = printable("".join(map(chr, range(256))) + "\u202e\U000e0001")
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert printable("a\tb\nc é") == "a\\tb\nc é"


def test_no_table_of_resources_lets_anything_through(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"respond": HOSTILE}
    edit = {"kind": "routes", "name": "r", "before": None, "after": document}
    entry = {
        "revision": 1,
        "at": "2026-01-01T00:00:00.1",
        "author": HOSTILE,
        "note": HOSTILE,
        "edits": [edit],
    }
    print_history([entry])
    print_resources([("routes", HOSTILE, 1, document)])
    print_diff([f"+{HOSTILE}"])
    counts = {"created": 1, "changed": 0, "deleted": 0, "unchanged": 0}
    changes = {"created": [HOSTILE], "changed": [], "deleted": []}
    print_plan({"counts": counts, "changes": changes, "revision": 1}, is_trial=False)
    with pytest.raises(SystemExit):
        fail(f"it is {HOSTILE}", 1)
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert text and all(c.isprintable() or c == "\n" for c in text), text
