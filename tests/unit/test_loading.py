"""Loading: gate.py and documents become gateways; what is wrong is told with file, line and the nearest name."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headgate.compile.loading import load
from headgate.compile.order import compile_gateway
from headgate.config.errors import ConfigError
from headgate.gateway import Gateway

HEAD = "from headgate import *\ngate = Gateway()\n"
Write = Callable[..., Gateway]


@pytest.fixture(autouse=True)
def _same_path() -> Iterator[None]:
    """Loading puts folders on the path; the next test starts without them."""
    path, modules = sys.path[:], set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if not name.startswith("headgate."):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str, **others: str) -> Gateway:
        for other, content in others.items():
            (tmp_path / f"{other}.py").write_text(content)
        (tmp_path / name).write_text(text)
        return load(tmp_path / name)

    return write


def refused(write: Write, name: str, text: str, **others: str) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        compile_gateway(write(name, text, **others))
    return error.value


def test_the_gateway_named_gate_is_taken(write: Write) -> None:
    gate = write("g.py", HEAD + "other = Gateway()\ngate.listen(':80')\n")
    assert [one.address for one in compile_gateway(gate).listeners] == [":80"]


def test_a_single_gateway_may_have_any_name(write: Write) -> None:
    assert (
        write("g.py", "from headgate import Gateway\nproxy = Gateway()\nalias = proxy\n")._parts.routes == []
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "creates no gateway"),
        ("from headgate import Gateway\na = Gateway()\nb = Gateway()\n", "creates several"),
    ],
)
def test_no_or_several_gateways_are_refused(write: Write, text: str, reason: str) -> None:
    assert reason in refused(write, "g.py", text).message


def test_modules_beside_the_file_can_be_imported(write: Write) -> None:
    gate = write(
        "g.py",
        HEAD + "from beside_gate import sign\ngate.request(sign)\n",
        beside_gate="def sign(request): ...",
    )
    assert gate._parts.hooks[0].name == "beside_gate.py:sign"


def test_a_file_saved_twice_in_a_second_is_read_anew(write: Write) -> None:
    for port in (81, 82):
        assert (
            compile_gateway(write("g.py", HEAD + f"gate.listen({port})\n")).listeners[0].address == f":{port}"
        )


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("gate.rout('/')\n", 3, "no attribute 'rout'", "did you mean `route`?"),
        (
            "\ngate.route('/', upsteam='x')\n",
            4,
            "unexpected keyword argument 'upsteam'",
            "did you mean `to`?",
        ),
        ("@gate.request(dedline=1)\ndef f(request): ...\n", 3, "'dedline'", "did you mean `deadline`?"),
        ("gate.use(None, ordr=1)\n", 3, "'ordr'", "did you mean `order`?"),
        ("gate.error_log(levl='info')\n", 3, "'levl'", "did you mean `level`?"),
        ("gate.run_in_process(len, timout=1)\n", 3, "'timout'", None),
        (
            "r = gate.route('/')\nr.rewrite\n",
            4,
            "no attribute 'rewrite'",
            "`Route` has no phase `rewrite`",
        ),
        ("def f(req): ...\ngate.request(f)\n", 3, "takes `(req)`", "write `def f(request)`"),
        ("x = 1 / 0\n", 3, "ZeroDivisionError: division by zero", None),
        ("import json\njson.loads('{')\n", 4, "JSONDecodeError", None),
        ("import no_such_module\n", 3, "ModuleNotFoundError", None),
        ("gate.listen(\n", 3, "syntax error", None),
        (
            "class P(Plugin):\n    def requst(self, request): ...\n",
            4,
            "`requst` of plugin `P`",
            "did you mean `request`?",
        ),
        ("gate.use(Plugin(x=1))\n", 3, "unknown key `x`", None),
        ("gate.route('/', files='no such folder')\n", 3, "`no such folder` is not a folder", "make `"),
        ("Response(200, headres={})\n", 3, "'headres'", "did you mean `headers`?"),
    ],
)
def test_mistakes_in_python_are_told_with_their_line(
    write: Write, text: str, line: int, message: str, hint: str | None
) -> None:
    error = refused(write, "g.py", HEAD + text)
    assert (Path(error.file or "").name, error.line) == ("g.py", line)
    assert message in error.message
    assert (error.hint or "").startswith(hint or "")


def test_a_mistake_in_an_imported_module_is_told_there(write: Write) -> None:
    error = refused(write, "g.py", HEAD + "import broken_beside\n", broken_beside="\n\nx = 1 / 0\n")
    assert (Path(error.file or "").name, error.line) == ("broken_beside.py", 3)


def test_a_missing_file_names_one_alike(tmp_path: Path) -> None:
    (tmp_path / "gate.py").touch()
    with pytest.raises(ConfigError) as error:
        load(tmp_path / "gat.py")
    assert error.value.hint == "did you mean `gate.py`?"
    with pytest.raises(ConfigError) as error:
        load(tmp_path / "somewhere_else.yaml")
    assert error.value.hint is None


DOCUMENTS = {
    "g.yaml": """
listeners: ":8080"
upstreams:
  api: [a:1, b:2 weight=2]
routes:
  - {path: /a, to: api, when: parts_of_gate:chosen, hooks: {request: parts_of_gate:check}}
  - {path: /b, respond: hi}
hooks:
  response: {function: parts_of_gate:stamp, deadline: 2s}
plugins:
  - {plugin: parts_of_gate:Tag, on: /a, config: {name: x}}
""",
    "g.toml": """
listeners = ":8080"
[upstreams.api]
servers = ["a:1", "b:2 weight=2"]
[[routes]]
path = "/a"
to = "api"
when = "parts_of_gate:chosen"
hooks.request = "parts_of_gate:check"
[[routes]]
path = "/b"
respond = "hi"
[hooks.response]
function = "parts_of_gate:stamp"
deadline = "2s"
[[plugins]]
plugin = "parts_of_gate:Tag"
on = "/a"
config.name = "x"
""",
    "g.json": """{"listeners": ":8080", "upstreams": {"api": ["a:1", "b:2 weight=2"]},
"routes": [{"path": "/a", "to": "api", "when": "parts_of_gate:chosen", "hooks": {"request": "parts_of_gate:check"}},
{"path": "/b", "respond": "hi"}],
"hooks": {"response": {"function": "parts_of_gate:stamp", "deadline": "2s"}},
"plugins": [{"plugin": "parts_of_gate:Tag", "on": "/a", "config": {"name": "x"}}]}""",
    "g.py": """from headgate import Gateway
from parts_of_gate import Tag, check, chosen, stamp
gate = Gateway()
gate.listen(":8080")
gate.upstream("api", "a:1", "b:2 weight=2")
gate.route("/a", to="api", when=chosen)(check)
gate.route("/b", respond="hi")
gate.response(deadline="2s")(stamp)
gate.use(Tag(name="x"), on="/a")
""",
}
PARTS = """from headgate import Plugin
def chosen(request): return True
def check(request): ...
def stamp(request, response): ...
def wrong(response, request): ...
class Tag(Plugin):
    class Config(Plugin.Config):
        name: str
    def request(self, request): ...
"""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_format_says_the_same(write: Write, name: str) -> None:
    expected = compile_gateway(write("expected.py", DOCUMENTS["g.py"], parts_of_gate=PARTS))
    compiled = compile_gateway(write(name, DOCUMENTS[name], parts_of_gate=PARTS))
    assert compiled.snapshot == expected.snapshot
    assert compiled.config == expected.config
    assert [hook.name for hook in compiled.hooks] == [hook.name for hook in expected.hooks]
    assert [hook.deadline_ms for hook in compiled.hooks] == [hook.deadline_ms for hook in expected.hooks]


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("routes:\n  - to: apo\nupstreams: {api: a:1}\n", 2, "no upstream `apo`", "did you mean `api`?"),
        ("routes:\n  - respond: x\n    whne: a:b\n", 3, "unknown key `whne`", "did you mean `when`?"),
        (
            "routes:\n  - respond: x\n    when: parts_of_gate:chosn\n",
            3,
            "has no `chosn`",
            "did you mean `chosen`?",
        ),
        (
            "routes:\n  - respond: x\n    when: part_of_gate:chosen\n",
            3,
            "no module `part_of_gate`",
            "did you mean `parts_of_gate`?",
        ),
        (
            "routes:\n  - respond: x\nhooks:\n  requst: a:b\n",
            4,
            "unknown key `requst`",
            "did you mean `request`?",
        ),
        (
            "routes:\n  - respond: x\nplugins:\n  - parts_of_gate:check\n",
            4,
            "is not a plugin",
            "a plugin is a subclass",
        ),
        (
            "routes:\n  - respond: x\nplugins:\n  - plugin: parts_of_gate:Tag\n    config:\n      nmae: x\n",
            6,
            "unknown key `nmae`",
            "did you mean `name`?",
        ),
        (
            "routes:\n  - respond: x\n"
            "plugins:\n  - plugin: parts_of_gate:Tag\n    on: nowhere\n    config: {name: x}\n",
            5,
            "no route, upstream or listener `nowhere`",
            "write a path",
        ),
        ("routes:\n  - path: /x\n", 2, "route `/x` does nothing", "give it `to`"),
        ("routes:\n  - path: /x\n    files: nowhere\n", 3, "is not a folder", "make"),
    ],
)
def test_mistakes_in_yaml_are_told_with_their_line(
    write: Write, text: str, line: int, message: str, hint: str
) -> None:
    error = refused(write, "g.yaml", text, parts_of_gate=PARTS)
    found = next(problem for problem in error.problems if message in problem.message)
    assert found.where
    assert (Path(found.where.file).name, found.where.line) == ("g.yaml", line)
    assert (found.hint or "").startswith(hint)


def test_a_wrong_hook_of_a_document_is_told_at_its_def(write: Write) -> None:
    error = refused(
        write, "g.yaml", "routes: [{respond: x, hooks: {response: parts_of_gate:wrong}}]", parts_of_gate=PARTS
    )
    assert (Path(error.file or "").name, error.line) == ("parts_of_gate.py", 5)


def test_two_folders_may_hold_modules_of_one_name(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "twin_of_gate.py").write_text(f"def sign(request): return {folder!r}\n")
        (tmp_path / folder / "g.yaml").write_text(
            "routes: [{to: a:1, hooks: {request: twin_of_gate:sign}}]\n"
        )
    responses = [
        compile_gateway(load(tmp_path / folder / "g.yaml")).hooks[0].function(None)
        for folder in ("one", "two")
    ]
    assert responses == ["one", "two"]
