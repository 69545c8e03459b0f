"""The import rules hold in this tree, and the check finds each kind of breach."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
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


def test_a_room_in_no_layer_is_refused(tree: Path) -> None:
    (tree / "src/headgate/helpers.py").write_text("")
    (found,) = check_imports.problems(tree)
    assert found == "src/headgate/helpers: is in no layer of tools/check_imports.py; name it in one"


def test_processes_talk_by_messages_only(tree: Path) -> None:
    (tree / "src/headgate/supervisor").mkdir()
    (tree / "src/headgate/supervisor/x.py").write_text("from headgate.worker import loop\n")
    (found,) = check_imports.problems(tree)
    assert "`headgate.supervisor` talks to `headgate.worker` by messages only" in found


def chain(folder: Path, names: list[str]) -> None:
    """Files in which each imports the next, and the last the first."""
    for name, following in zip(names, [*names[1:], names[0]], strict=True):
        module = f"headgate.{following.replace('/', '.')}"
        (folder / f"{name}.py").parent.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(f"def f() -> None:\n    from {module} import f\n")


def test_a_small_ring_within_a_folder_is_no_breach(tree: Path) -> None:
    chain(tree / "src/headgate", ["worker/a", "worker/b", "worker/c", "worker/d"])
    assert check_imports.problems(tree) == []


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (
            ["worker/a", "worker/b", "worker/c", "worker/d", "worker/e"],
            "more than 4 files need each other in a ring: headgate.worker.a, headgate.worker.b, ",
        ),
        (
            ["worker/a", "worker/inner/b"],
            "files of several folders need each other in a ring: headgate.worker.a, ",
        ),
    ],
)
def test_a_ring_is_printed(tree: Path, names: list[str], complaint: str) -> None:
    chain(tree / "src/headgate", names)
    (found,) = check_imports.problems(tree)
    assert complaint in found


def test_imports_for_types_only_are_not_counted(tree: Path) -> None:
    code = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from headgate.gateway import Gateway\n"
    (tree / "src/headgate/config/x.py").write_text(code)
    assert check_imports.problems(tree) == []


def write(tree: Path, files: dict[str, str]) -> list[str]:
    """What the check says of the tree with these files in it."""
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    found: list[str] = check_imports.problems(tree)
    return found


@pytest.mark.parametrize(
    "back",
    [
        "use crate::a::one;",
        "use crate::{a::{one as other}, b};",
        "fn f() { crate::a::one::g() }",
        "fn f() -> super::super::a::one::T { g() }",
    ],
)
def test_a_ring_over_folders_is_printed(tree: Path, back: str) -> None:
    files = {
        "a/mod.rs": "mod one;",
        "a/one.rs": "use crate::b::two;",
        "b/mod.rs": "mod two;",
        "b/two.rs": back,
    }
    found = write(tree, {f"crates/wire/src/{name}": text for name, text in files.items()})
    assert found == [
        "crates/wire: files of several folders (or beside `lib.rs`) need each other: a/one, b/two"
    ]


def test_a_small_ring_in_a_folder_is_fine_and_a_large_one_is_not(tree: Path) -> None:
    def ring(size: int) -> dict[str, str]:
        return {f"crates/wire/src/a/f{n}.rs": f"use super::f{(n + 1) % size};" for n in range(size)}

    assert write(tree, ring(4)) == []
    assert write(tree, ring(5)) == [
        "crates/wire: more than 4 files need each other: a/f0, a/f1, a/f2, a/f3, a/f4"
    ]


def test_tests_and_comments_may_name_what_they_like(tree: Path) -> None:
    code = "use super::two;\n// use crate::b::up;\n#[cfg(test)]\nmod tests { use crate::b::up; }\n"
    files = {"a/one.rs": code, "a/two.rs": "", "b/up.rs": "use crate::a::one;"}
    assert write(tree, {f"crates/wire/src/{name}": text for name, text in files.items()}) == []


def test_a_room_of_the_engine_uses_those_below_it_only(tree: Path) -> None:
    files = {
        "crates/engine/src/hooks/mod.rs": "",
        "crates/engine/src/http/h1/mod.rs": "use crate::hooks::Hooks;",
    }
    assert write(tree, files) == []
    files = {
        "crates/engine/src/http/h1/mod.rs": "",
        "crates/engine/src/hooks/mod.rs": "use crate::http::h1::Head;",
    }
    assert write(tree, files) == ["crates/engine: `hooks` may not use `http/h1`: a room above it"]


def test_a_module_of_the_engine_stands_in_a_room(tree: Path) -> None:
    found = write(tree, {"crates/engine/src/helpers.rs": ""})
    assert found == ["crates/engine: `helpers` stands in no room that ENGINE_ROOMS names"]


def test_the_architecture_names_the_rooms_of_the_engine_in_their_order() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text[text.index("| `crates/engine/src/` |") : text.index("### Python")]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")][1:]
    named = [room.removesuffix(".rs") for cell in cells for room in re.findall(r"`([^`]+)`", cell)]
    assert named == check_imports.ENGINE_ROOMS


def test_the_architecture_names_every_room_of_the_package() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text[text.index("| `src/headgate/` |") : text.index("### Beside them")]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`([\w.]+)`", "".join(cells)))
    rooms = {room for layer in check_imports.LAYERS for room in layer if not room.startswith("_")}
    package = ROOT / "src" / "headgate"
    assert {room if (package / room).is_dir() else f"{room}.py" for room in rooms} <= named
