"""One table of phases: whatever goes through phases in Python is made from it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import headgate
from headgate import _core
from headgate.phases import PHASES

STUB = Path(headgate.__file__).with_name("_phase_decorators.pyi")
CLASSES = {
    "RoutePhases": ("route",),
    "GatewayPhases": ("worker", "connection", "gateway"),
    "ListenerPhases": ("connection",),
    "StreamPhases": ("listener",),
}

FICTION = """
import json, sys
from headgate.phases import PHASES, Phase
PHASES["teatime"] = Phase("teatime", ("request", "cup"), "tea is ready", "drink it", "(none)", has_body=True)

from pathlib import Path
from headgate import ConfigError, Gateway, Plugin
from headgate.compile.loading import load
from headgate.compile.order import compile_gateway
from headgate.config import json_schema

gate = Gateway()
gate.listen(":8080")
route = gate.route("/", to="127.0.0.1:9000")

@gate.teatime(mode="buffer")
def sip(request, cup): ...

@route.teatime
def gulp(request, cup): ...

class Sugar(Plugin):
    def teatime(self, request, cup): ...

gate.use(Sugar())
try:
    gate.teatime(lambda request: None)
except ConfigError as error:
    assert "phase `teatime` gives `(request, cup)`" in str(error), error
else:
    raise AssertionError("its signature is not checked")

made = compile_gateway(gate)
names = [made.hooks[hook["hook"]].name for hook in json.loads(made.snapshot)["routes"][0]["hooks"]["teatime"]]
assert [name.rpartition(":")[2] for name in names] == ["sip", "Sugar.teatime", "gulp"], names
assert gate.config.hooks.teatime[0].mode == "buffer"
assert "teatime" in json.dumps(json_schema())

Path("tea.py").write_text("def sip(request, cup): ...\\n")
routes = [{"path": "/", "to": "localhost:9000", "hooks": {"teatime": "tea:sip"}}]
Path("gate.json").write_text(json.dumps({"listeners": ":8080", "routes": routes}))
assert compile_gateway(load("gate.json")).hooks[0].phase == "teatime"

sys.path.insert(0, sys.argv[1])
import reference
assert "teatime(request, cup)" in reference.phases()
assert "teatime" in reference.configuration()
"""


def test_a_phase_is_added_by_the_table_alone(tmp_path: Path) -> None:
    tools = Path(__file__).parents[2] / "tools"
    ran = subprocess.run(
        [sys.executable, "-c", FICTION, str(tools)], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", CLASSES)
def test_stub_of_decorators_says_what_the_table_says(name: str) -> None:
    tree = ast.parse(STUB.read_text())
    found = next(one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == name)
    written = {
        one.name: ast.unparse(one.returns).partition("[")[0]
        for one in found.body
        if isinstance(one, ast.FunctionDef) and one.returns and ast.get_docstring(one)
    }
    wanted = {
        phase.name: "BodyPhaseDecorator" if phase.has_body else "PhaseDecorator"
        for phase in PHASES.values()
        if phase.scope in CLASSES[name]
    }
    assert written == wanted


def test_every_place_of_a_phase_is_in_the_stub() -> None:
    assert {scope for scopes in CLASSES.values() for scope in scopes} == {
        phase.scope for phase in PHASES.values()
    }


def test_engine_has_the_same_table() -> None:
    flags = ("can_respond", "has_body", "without_route")
    wanted = [
        (phase.name, phase.scope, {flag for flag in flags if getattr(phase, flag)})
        for phase in PHASES.values()
        if phase.scope != "worker"
    ]
    found = [
        (name, scope, {*flags} - {"repeats"}) for name, scope, flags in _core.phases() if scope != "matcher"
    ]
    assert found == wanted


def test_what_only_the_engine_says_of_phases() -> None:
    assert [name for name, scope, _ in _core.phases() if scope == "matcher"] == ["match"]
    repeating = {name for name, _, flags in _core.phases() if "repeats" in flags}
    assert repeating == {phase.name for phase in PHASES.values() if phase.has_body} | {"websocket_message"}


def test_hook_of_a_phase_that_the_engine_does_not_call_is_refused_by_name() -> None:
    known = ", ".join(name for name, *_ in _core.phases())
    with pytest.raises(ValueError, match=f"^`startup` is not a phase of a request; hint: one of {known}$"):
        _core.HookSpec(
            phase="startup", function=print, is_async=False, deadline_ms=1, on_error="open", name="print"
        )
