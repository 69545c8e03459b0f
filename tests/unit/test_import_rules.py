"""The import rules hold in this tree, and the check finds each kind of breach."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("check_imports", ROOT / "tools" / "check_imports.py")
assert spec is not None and spec.loader is not None
check_imports = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_imports)


def test_this_tree_keeps_the_rules() -> None:
    assert check_imports.problems(ROOT) == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree that keeps the rules."""
    for crate in check_imports.CRATES:
        (tmp_path / "crates" / crate / "src").mkdir(parents=True)
        (tmp_path / "crates" / crate / "Cargo.toml").write_text("[dependencies]\n")
    for folder in ("config", "gateway", "worker", "cli", "plugins", "stores"):
        (tmp_path / "src" / "headgate" / folder).mkdir(parents=True)
        (tmp_path / "src" / "headgate" / folder / "__init__.py").touch()
    assert check_imports.problems(tmp_path) == []
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("crates/wire/Cargo.toml", "[dependencies]\nheadgate-engine.workspace = true\n", "may not depend on"),
        ("crates/engine/Cargo.toml", "[dependencies]\npyo3.workspace = true\n", "for bridge only"),
        ("crates/route/src/lib.rs", "use std::time::Instant;\n", "a clock"),
        ("crates/engine/src/lib.rs", "fn f() { unsafe { g() } }\n", "`unsafe` belongs in"),
        ("src/headgate/config/x.py", "from headgate.worker import worker\n", "a layer above"),
        ("src/headgate/config/x.py", "from ..gateway import Gateway\n", "a layer above"),
        ("src/headgate/worker/x.py", "from headgate import cli\n", "nothing imports"),
        ("src/headgate/plugins/x.py", "from headgate.config import model\n", "public API only"),
        ("src/headgate/plugins/x.py", "from headgate.plugins import other\n", "public API only"),
        ("src/headgate/stores/x.py", "import headgate.gateway\n", "knows `headgate.config` only"),
    ],
)
def test_a_breach_is_named(tree: Path, file: str, text: str, complaint: str) -> None:
    (tree / file).write_text(text)
    found = check_imports.problems(tree)
    assert len(found) == 1
    assert complaint in found[0]


def test_imports_for_types_only_are_not_counted(tree: Path) -> None:
    code = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from headgate.gateway import Gateway\n"
    (tree / "src/headgate/config/x.py").write_text(code)
    assert check_imports.problems(tree) == []
