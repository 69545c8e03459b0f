"""Every example loads, is listed here by being found, and its snapshot is accepted by the engine."""

from pathlib import Path

import pytest

from headgate import _core
from headgate.loading import load

EXAMPLES = sorted(
    file
    for file in (Path(__file__).parents[2] / "examples").iterdir()
    if file.suffix in (".py", ".yaml", ".toml", ".json")
)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_loads_and_the_engine_accepts_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_DATA_DIR", str(tmp_path))
    compiled = load(file).compile()
    assert compiled.listeners
    _core.check(compiled.snapshot)
