"""Words that are out are found wherever people read, with the one that is said instead."""

from pathlib import Path

from tools.check_words import OUT, ROOT, faults


def test_this_tree_uses_none_that_is_out() -> None:
    assert list(faults(ROOT, OUT)) == []


def test_a_word_that_is_out_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text('x = 1\nraise ValueError("the body is badly framed")\n')
    (tmp_path / "README.md").write_text("All is well.\n")
    assert list(faults(tmp_path, OUT)) == ["src/a.py:2: `badly framed` is out; hint: malformed framing"]
