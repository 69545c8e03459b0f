"""The table of failures: what hooks see as `error.kind`, in the stub and in the reference."""

import ast
from pathlib import Path

import pytest

import headgate
from headgate import _core

STUB = Path(headgate.__file__).parent / "_core.pyi"


def literals(name: str) -> list[str]:
    """The words of a `Literal` that the stub gives a name."""
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            assert isinstance(node.value, ast.Subscript) and isinstance(node.value.slice, ast.Tuple)
            return [word.value for word in node.value.slice.elts if isinstance(word, ast.Constant)]
    raise AssertionError(f"the stub has no `{name}`")


def test_the_stub_names_every_kind_and_no_other() -> None:
    assert literals("_FailureKind") == sorted({kind for kind, *_ in _core.failures()})


@pytest.mark.parametrize(
    ("kind", "source", "status", "retry", "level"),
    [
        ("client_disconnected", "client", 499, "never", "debug"),
        ("connect_failed", "upstream", 502, "always", "warning"),
        ("upstream_closed", "upstream", 502, "reused", "warning"),
        ("upstream_head_timeout", "upstream", 504, "never", "warning"),
        ("head_too_large", "client", 431, "never", "debug"),
        ("head_too_large", "upstream", 502, "reused", "warning"),
        ("hook_failed", "gateway", 500, "never", "error"),
    ],
)
def test_a_kind_says_what_becomes_of_the_request(
    kind: str, source: str, status: int, retry: str, level: str
) -> None:
    assert (kind, source, status, retry, level) in [row[:5] for row in _core.failures()]


def test_every_kind_has_a_sentence() -> None:
    for kind, *_, meaning in _core.failures():
        assert len(meaning.split()) > 2, kind
