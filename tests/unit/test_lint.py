"""What `headgate check` warns of beyond types, with file, line and hint."""

from pathlib import Path

import pytest

from headgate.compile.lint import lint
from headgate.compile.loading import load


def warnings(folder: Path, text: str, *, known: tuple[str, ...] | None = None) -> list[str]:
    """The warnings about a YAML file; with `known`, only these names resolve."""
    file = folder / "gate.yaml"
    file.write_text(text)

    def resolve(host: str) -> None:
        if host not in (known or ()):
            raise OSError(-2, "Name or service not known")

    found = list(lint(load(file), None if known is None else resolve))
    assert all(str(problem.where).startswith(f"{file}:") and problem.hint for problem in found)
    return [f"{problem.where.line if problem.where else 0}: {problem.message}" for problem in found]


def test_an_upstream_that_nothing_leads_to_is_told(tmp_path: Path) -> None:
    text = "upstreams:\n  used: 'a:1'\n  unused: 'b:1'\nroutes:\n  - to: used\n"
    assert warnings(tmp_path, text) == ["3: nothing leads to the upstream `unused`"]


@pytest.mark.parametrize("code", ["plugins: [cors]", "admin: 'unix:/run/x.sock'"])
def test_what_code_or_resources_may_lead_to_is_not(tmp_path: Path, code: str) -> None:
    code = code.replace("[cors]", "[{plugin: cors, config: {origins: ['https://a.example']}}]")
    assert warnings(tmp_path, f"upstreams:\n  a: 'a:1'\n{code}\n") == []


def test_names_that_do_not_resolve_are_told_once(tmp_path: Path) -> None:
    text = "upstreams:\n  a: ['known:1', 'gone:1', 'gone:2']\nroutes:\n  - to: a\n"
    assert warnings(tmp_path, text, known=("known",)) == ["2: `gone` of the upstream `a` does not resolve"]
    assert warnings(tmp_path, text) == []


def test_a_route_that_takes_no_request_is_told(tmp_path: Path) -> None:
    text = "routes:\n  - {name: a, path: /x, respond: a}\n  - {name: b, path: /x, respond: b}\n"
    assert [line[:12] for line in warnings(tmp_path, text)] == ["3: route `b`"]
