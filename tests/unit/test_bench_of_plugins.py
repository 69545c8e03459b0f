"""The benchmark of plugins knows each of them: with a case, or with why it has none."""

import importlib.util
from pathlib import Path
from typing import Any

from headgate.plugins import BUILT_IN


def bench() -> Any:
    spec = importlib.util.spec_from_file_location(
        "bench_plugins", Path(__file__).parents[2] / "bench/plugins.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_plugin_has_a_case_or_a_reason_and_not_both() -> None:
    module = bench()
    measured = {name.partition(" ")[0] for name in module.CASES}
    assert measured | set(module.NOT_MEASURED) == set(BUILT_IN)
    assert not measured & set(module.NOT_MEASURED)
    for name in module.CASES:
        assert module.made(name).config is not None
