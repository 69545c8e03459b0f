"""Numbers of peers: ASCII digits alone, everywhere."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import headgate
from headgate._digits import hex_number, whole_number

SOURCES = Path(headgate.__file__).parent
HELPER = SOURCES / "_digits.py"
LENIENT = ("isdigit", "isdecimal", "isnumeric")
"""True for digits of other scripts, and for `²`, of which `int` raises."""
OF_PEERS = (
    *(
        "dispatch/heads.py",
        "dispatch/client_link.py",
        "monitor/probes/http_response.py",
        "stores/http_response.py",
    ),
    *(
        "discovery/registries/consul.py",
        "discovery/registries/docker.py",
        "discovery/registries/kubernetes.py",
    ),
    *("asgi/scope.py", "plugins/_services.py", "plugins/request_size.py", "plugins/response_size.py"),
)
"""Files whose numbers are all of peers: none of them calls `int` itself."""


@pytest.mark.parametrize("text", ["0", "007", "18446744073709551615", b"12"])
def test_digits_are_a_number(text: str | bytes) -> None:
    assert whole_number(text) == int(text)


WRONG = ["", "+1", "-1", " 1", "1 ", "1_0", "1\n", "٣", "²", "0x1", "1.0", "1" * 21, b"\xb2", b"1\0"]


@pytest.mark.parametrize("text", WRONG)
def test_anything_else_is_none(text: str | bytes) -> None:
    assert whole_number(text) is None


def test_hexadecimal_digits_are_a_number() -> None:
    assert (hex_number("fF"), hex_number(b"0010"), hex_number("f" * 16)) == (255, 16, 2**64 - 1)
    assert [hex_number(text) for text in (*WRONG[:8], "0x1", "g", b"\xb2", "f" * 17)] == [None] * 12


def lenient(path: Path) -> Iterator[str]:
    """Where a file reads numbers more leniently than the helper does."""
    of_peers = str(path.relative_to(SOURCES)) in OF_PEERS
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr in LENIENT:
            yield f"{path.name}:{node.lineno}: `{node.func.attr}`"
        if isinstance(node.func, ast.Name) and node.func.id == "int":
            is_hex = len(node.args) == 2 and ast.unparse(node.args[1]) == "16"
            if (of_peers or is_hex) and not is_of_a_match(node.args[0]):
                yield f"{path.name}:{node.lineno}: `{ast.unparse(node)}`"


def is_of_a_match(node: ast.expr) -> bool:
    """Whether a pattern has matched it: `found[1]`, `text[1:]`."""
    return isinstance(node, ast.Subscript)


def test_no_number_is_read_more_leniently() -> None:
    found = [line for path in SOURCES.rglob("*.py") if path != HELPER for line in lenient(path)]
    assert found == []


def test_the_rule_finds_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SOURCES", tmp_path)
    file = tmp_path / "some.py"
    file.write_text("if text.isdigit():\n    int(text, 16)\n    int(text)\n")
    assert list(lenient(file)) == ["some.py:1: `isdigit`", "some.py:2: `int(text, 16)`"]
    (tmp_path / "dispatch").mkdir()
    (tmp_path / "dispatch/heads.py").write_text("int(text)")
    assert list(lenient(tmp_path / "dispatch/heads.py")) == ["heads.py:1: `int(text)`"]
