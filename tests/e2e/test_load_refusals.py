"""What is wrong in a configuration is refused before anything is served, with the line and the nearest right name."""

import json
from pathlib import Path

import pytest
from e2e.kit import run_cli

TOP = """from headgate import Gateway, Plugin, Response
from pydantic import BaseModel

gate = Gateway()
gate.listen(":0")
"""
"""Five lines: what follows begins with line 6."""

PYTHON = {
    "misspelt phase": ("@gate.respnse\ndef f(request, response): ...", 6, "`response`"),
    "misspelt phase of a route": ("r = gate.route('/')\n@r.requst\ndef f(request): ...", 7, "`request`"),
    "phase of the gateway on a route": ("r = gate.route('/')\n@r.rewrite\ndef f(request): ...", 7, "rewrite"),
    "misspelt method of a plugin": (
        "class P(Plugin):\n    def requets(self, request): ...",
        7,
        "`request`",
    ),
    "too few arguments": ("@gate.response\ndef f(request): ...", 7, "request, response"),
    "too many arguments": ("@gate.request\ndef f(request, response): ...", 7, "(request)"),
    "arguments of a plugin": (
        "class P(Plugin):\n    def response(self, request): ...",
        7,
        "self, request, response",
    ),
    "generator as a hook": ("@gate.request\ndef f(request):\n    yield", 7, "Response.stream"),
    "async matcher": ("async def m(request): ...\ngate.route('/', when=m)", 6, "`def`"),
    "misspelt keyword": ("gate.route('/', mehtods='GET')", 6, "`methods`"),
    "misspelt limit": ("gate.limits(max_body_byte=5)", 6, "`max_body_bytes`"),
    "misspelt timeout": ("gate.timeouts(client_haed='5s')", 6, "`client_head`"),
    "unknown upstream": ("gate.upstream('backend', ':9000')\ngate.route('/', to='bakend')", 7, "`backend`"),
    "unknown balance": ("gate.upstream('u', ':9000', balance='round_robbin')", 6, "`round_robin`"),
    "unknown server option": ("gate.upstream('u', ':9000 wieght=2')", 6, "`weight`"),
    "bad size": ("gate.limits(max_body_bytes='5 pints')", 6, "5 pints"),
    "bad duration": ("gate.timeouts(connect='soon')", 6, "soon"),
    "bad path": ("gate.route('users')", 6, "`/users`"),
    "bad regex": ("gate.route('~(')", 6, "regular expression"),
    "bad address": ("gate.listen('nowhere')", 6, "nowhere"),
    "two actions": ("gate.route('/', to=':9000', respond='x')", 6, "one thing"),
    "bad status": ("gate.route('/', redirect={'location': '/', 'status': 300})", 6, "300"),
    "unknown setting of a plugin": (
        "class P(Plugin):\n    class Config(BaseModel):\n        header: str = 'x'\ngate.use(P(haeder='y'))",
        9,
        "`header`",
    ),
    "class instead of a plugin": ("class P(Plugin): ...\ngate.use(P)", 7, "`P(...)`"),
    "missing environment": (
        "class P(Plugin):\n    class Config(BaseModel):\n        key: str\ngate.use(P(key='env:NO_SUCH_KEY'))",
        9,
        "NO_SUCH_KEY",
    ),
    "misspelt name": ("gate.upstraem('u', ':9000')", 6, "`upstream`"),
    "syntax error": ("def f(:\n    pass", 6, "syntax"),
    "exception": ("gate.route('/')\n1 / 0", 7, "division"),
    "upstream twice": ("gate.upstream('u', ':1')\ngate.upstream('u', ':2')", 7, "already"),
}


@pytest.mark.parametrize("name", PYTHON)
def test_python_file_is_refused_with_line_and_hint(tmp_path: Path, name: str) -> None:
    source, line, expected = PYTHON[name]
    (tmp_path / "gate.py").write_text(TOP + source + "\n")
    result = run_cli("check", "gate.py", cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert f"gate.py:{line}:" in result.stderr
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


DOCUMENTS = {
    "unknown key": ({"listner": ":0"}, "`listeners`"),
    "unknown key of a route": ({"listeners": ":0", "routes": [{"pth": "/"}]}, "`path`"),
    "unknown key deep below": (
        {"listeners": ":0", "upstreams": {"u": {"servers": ":1", "keepalive": {"max_idel": 3}}}},
        "`max_idle`",
    ),
    "wrong type": ({"listeners": ":0", "routes": "all"}, "routes"),
    "reference without colon": ({"listeners": ":0", "hooks": {"request": "hooks.sign"}}, "module:name"),
    "missing module": ({"listeners": ":0", "hooks": {"request": "no_such_module:sign"}}, "no_such_module"),
    "misspelt phase": ({"listeners": ":0", "hooks": {"reqest": "hooks:sign"}}, "`request`"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_is_refused_with_line_and_hint(tmp_path: Path, name: str) -> None:
    document, expected = DOCUMENTS[name]
    (tmp_path / "gate.json").write_text(json.dumps(document, indent=1))
    result = run_cli("check", "gate.json", cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert "gate.json:" in result.stderr
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


def test_line_of_a_yaml_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text(
        "listeners: ':0'\nroutes:\n  - path: /a\n    respond: x\n  - pth: /b\n"
    )
    result = run_cli("check", "gate.yaml", cwd=tmp_path)
    assert result.returncode == 2
    assert "gate.yaml:5:" in result.stderr


def test_line_of_a_toml_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "gate.toml").write_text("listeners = ':0'\n\n[limits]\nmax_body_byte = 5\n")
    result = run_cli("check", "gate.toml", cwd=tmp_path)
    assert result.returncode == 2
    assert "gate.toml:4:" in result.stderr
    assert "`max_body_bytes`" in result.stderr


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("listeners: ':0'\nlimts: {}\nroutes:\n  - pth: /b\n")
    result = run_cli("check", "gate.yaml", cwd=tmp_path)
    assert "gate.yaml:2:" in result.stderr
    assert "gate.yaml:4:" in result.stderr


def test_run_refuses_what_check_refuses(tmp_path: Path) -> None:
    (tmp_path / "gate.py").write_text(TOP + "gate.route('users')\n")
    result = run_cli("run", "gate.py", cwd=tmp_path)
    assert result.returncode == 2
    assert "gate.py:6:" in result.stderr
    assert "Traceback" not in result.stderr


def test_startup_hook_that_raises_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "gate.py").write_text(
        TOP + "@gate.startup\nasync def connect():\n    raise OSError('no database')\n"
    )
    result = run_cli("run", "gate.py", cwd=tmp_path)
    assert result.returncode == 1
    assert "no database" in result.stderr
