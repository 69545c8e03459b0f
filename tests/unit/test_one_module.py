"""A gateway's file is one module under its own name, and whatever ends it early is told."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.compile.loading import load
from headgate.compile.order import compile_gateway
from headgate.config.errors import ConfigError

GATE = "from headgate import Gateway\ngate = Gateway()\ngate.route('/', respond='in')\n"
RULES = """from headgate import Response
from gate import gate

@gate.request
def deny(request):
    return Response(403, "denied")
"""


@pytest.fixture(autouse=True)
def _same_modules() -> Iterator[None]:
    path, modules = sys.path[:], dict(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        if not name.startswith("headgate."):
            del sys.modules[name]


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder / "gate.py"


def names(file: Path) -> list[str]:
    return [hook.name.rpartition(":")[2] for hook in compile_gateway(load(file)).hooks]


def refusal(file: Path) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        load(file)
    return refused.value


def test_hooks_that_a_module_beside_registers_run(tmp_path: Path) -> None:
    file = write(tmp_path, gate=GATE + "import rules\n", rules=RULES)
    assert names(file) == ["deny"]
    assert names(file) == ["deny"]  # a second load in one process registers them on its own gateway


def test_the_file_is_its_module_while_it_runs(tmp_path: Path) -> None:
    said = "import sys\nassert sys.modules['gate'].__dict__ is globals() and __name__ == 'gate'\n"
    load(write(tmp_path, gate=said + GATE))


def test_modules_that_took_nothing_of_the_gateway_stay_the_same(tmp_path: Path) -> None:
    file = write(tmp_path, gate=GATE + "import plain_beside\n", plain_beside="class Kept: ...\n")
    load(file)
    kept = sys.modules["plain_beside"]
    load(file)
    assert sys.modules["plain_beside"] is kept


@pytest.mark.parametrize("late", [False, True])
def test_a_second_load_under_another_name_is_an_error_that_names_both(tmp_path: Path, late: bool) -> None:
    sys.path.insert(0, str(tmp_path))
    (tmp_path / "app").mkdir()
    line = "import rules\n" if not late else "import gate\nassert gate.gate\nimport rules\n"
    file = write(tmp_path / "app", gate=GATE + line, rules="import app.gate\n")
    error = refusal(file)
    assert error.message == "`gate.py` is loaded as module `gate` and cannot be `app.gate` too"
    assert error.hint == "write `import gate`"


SECOND = """from headgate import Gateway, Response
gate = Gateway()
@gate.request
def deny(request):
    return Response(403)
"""
AGAIN = """import importlib.util, pathlib
spec = importlib.util.spec_from_file_location("other", pathlib.Path(__file__).with_name("gate.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.gate.request(lambda request: None)
"""


@pytest.mark.parametrize(
    ("gate", "rules", "line", "hint"),
    [
        (GATE + "import rules\n", SECOND, "rules.py:2", "write `from gate import gate`"),
        (GATE + "import rules\n", AGAIN, "gate.py:2", "make one gateway in `gate.py`"),
        (SECOND + GATE, "", "gate.py:2", "make one gateway in `gate.py`"),
        (
            GATE + SECOND.replace("gate", "other").replace("headother", "headgate"),
            "",
            "gate.py:5",
            "make one",
        ),
    ],
)
def test_hooks_of_a_gateway_that_is_not_served_are_refused(
    tmp_path: Path, gate: str, rules: str, line: str, hint: str
) -> None:
    error = refusal(write(tmp_path, gate=gate, rules=rules))
    assert "would never run: it is of a second gateway, and `gate.py` serves another one" in error.message
    assert f"{Path(error.file or '').name}:{error.line}" == line
    assert error.hint and error.hint.startswith(hint)


def test_a_document_refuses_them_too(tmp_path: Path) -> None:
    write(tmp_path, hooks_beside=SECOND)
    (tmp_path / "gate.yaml").write_text(
        "routes: [{path: /, respond: in, hooks: {request: 'hooks_beside:deny'}}]\n"
    )
    assert "would never run" in refusal(tmp_path / "gate.yaml").message


def test_a_second_gateway_without_hooks_is_left_alone(tmp_path: Path) -> None:
    assert names(write(tmp_path, gate="from headgate import Gateway\nspare = Gateway()\n" + GATE)) == []


@pytest.mark.parametrize(
    ("name", "line", "hint"),
    [
        ("gate", "import __main__\nfrom __main__ import gate\n", "write `from gate import ...`"),
        ("gate", "import folder_of_it.rules\n", "leave out `folder_of_it.`"),
        (
            "my-gate",
            "import importlib\nimportlib.import_module('my-gate')\n",
            "rename `my-gate.py` to `my_gate.py`",
        ),
    ],
)
def test_other_names_of_the_file_get_a_hint(tmp_path: Path, name: str, line: str, hint: str) -> None:
    write(tmp_path / "folder_of_it", **{name: GATE + "import rules\n", "rules": line})
    assert hint in (refusal(tmp_path / "folder_of_it" / f"{name}.py").hint or "")


def test_relative_references_of_a_document_get_a_hint(tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("routes: [{path: /, respond: in, hooks: {log: '.rules:f'}}]\n")
    assert "write `rules:f`" in (refusal(tmp_path / "gate.yaml").hint or "")


def test_relative_imports_get_a_hint(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, gate=GATE + "from . import rules\n", rules=""))
    assert error.line == 4
    assert error.hint and "write `import rules`" in error.hint


def test_circular_imports_get_a_hint(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, gate="import rules\n" + GATE, rules=RULES))
    assert error.hint and "two modules import each other" in error.hint


@pytest.mark.parametrize("name", ["yaml", "json", "pydantic"])
@pytest.mark.parametrize("kind", ["gate.yaml", "gate.py"])
def test_a_module_with_the_name_of_a_library_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / f"{name}.py").write_text("x = 1\n")
    (tmp_path / kind).write_text(GATE if kind == "gate.py" else "routes: [{path: /, respond: in}]\n")
    error = refusal(tmp_path / kind)
    assert (error.message, error.hint) == (
        f"`{name}.py` shadows the library `{name}`",
        f"rename `{name}.py`",
    )
    assert Path(error.file or "").name == f"{name}.py"


def test_a_gateways_file_with_the_name_of_a_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "xdrlib.py").write_text(GATE)
    (tmp_path / "poplib.py").write_text(GATE)
    assert "shadows the library" in refusal(tmp_path / "poplib.py").message


ENDS = {
    "import sys\nsys.exit(0)\n": "`gate.py` calls `sys.exit(0)` while it is loaded",
    "import sys\nsys.exit()\n": "`gate.py` calls `sys.exit()` while it is loaded",
    "raise SystemExit('no')\n": "`gate.py` calls `sys.exit('no')` while it is loaded",
    "import asyncio\nraise asyncio.CancelledError\n": "CancelledError: failed",
    "def f(): f()\nf()\n": "RecursionError: maximum recursion depth exceeded",
    "raise MemoryError\n": "MemoryError: failed",
    "raise GeneratorExit\n": "GeneratorExit: failed",
    "import argparse\nargparse.ArgumentParser().parse_args(['--x'])\n": (
        "`gate.py` parses the command line, which belongs to the gateway"
    ),
}


@pytest.mark.parametrize("text", ENDS)
@pytest.mark.parametrize("place", ["file", "module beside", "module of a document"])
def test_whatever_ends_a_file_early_is_told(tmp_path: Path, text: str, place: str) -> None:
    if place == "file":
        error = refusal(write(tmp_path, gate=GATE + text))
        assert error.message.startswith(ENDS[text])
    elif place == "module beside":
        error = refusal(write(tmp_path, gate=GATE + "import ends\n", ends=text))
        assert error.message.startswith(ENDS[text])
        assert Path(error.file or "").name == "ends.py"
    else:
        write(tmp_path, ends=text)
        (tmp_path / "gate.yaml").write_text("routes: [{path: /, hooks: {request: 'ends:f'}}]\n")
        error = refusal(tmp_path / "gate.yaml")
        assert error.message.startswith("`ends` cannot be imported: ") and error.line == 1
    assert "gate" not in sys.modules


def test_check_fails_where_the_file_exits_with_zero(tmp_path: Path) -> None:
    file = write(tmp_path, gate=GATE + "import sys\nsys.exit(0)\n")
    command = [sys.executable, "-m", "headgate", "check", str(file)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "gate.py:5: `gate.py` calls `sys.exit(0)` while it is loaded" in ran.stderr
