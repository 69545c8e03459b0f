"""Rust files and functions stay within their bounds, and the check finds what does not."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("check_sizes", ROOT / "tools" / "check_sizes.py")
assert spec is not None and spec.loader is not None
check_sizes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_sizes)


def told(tree: Path, text: str) -> list[str]:
    file = tree / "crates" / "wire" / "src" / "lib.rs"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    found: list[str] = check_sizes.problems(tree)
    return found


def function(lines: int) -> str:
    return "pub(crate) async fn long() {\n" + "    g();\n" * (lines - 2) + "}\n"


def test_this_tree_keeps_its_sizes() -> None:
    assert check_sizes.problems(ROOT) == []


def test_a_long_function_is_named_with_its_length(tmp_path: Path) -> None:
    assert told(tmp_path, function(61)) == ["crates/wire/src/lib.rs: `long` has 61 lines; hint: at most 60"]


def test_what_fits_is_fine_and_tests_are_not_counted(tmp_path: Path) -> None:
    assert told(tmp_path, function(60) + "#[cfg(test)]\nmod tests {\n" + "    x();\n" * 500 + "}\n") == []


def test_a_long_file_is_named(tmp_path: Path) -> None:
    found = told(tmp_path, "// a line\n" * 401)
    assert found[0] == "crates/wire/src/lib.rs: 401 lines; hint: at most 400, split it by duty"
