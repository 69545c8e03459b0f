"""Every plugin that comes with the gateway has an example that loads, a page, and settings that say what they are."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from headgate import _core, load
from headgate.compile.order import compile_gateway
from headgate.plugins import BUILT_IN
from headgate.plugins import __all__ as classes

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_example_loads_and_the_engine_accepts_it(name: str) -> None:
    gate = load(ROOT / "examples" / "plugins" / f"{name}.yaml")
    assert name in [use.config.plugin for use in gate._parts.plugins]
    _core.check(compile_gateway(gate).snapshot)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_setting_is_described(name: str) -> None:
    import headgate.plugins

    kind = getattr(headgate.plugins, BUILT_IN[name].rpartition(":")[2])
    assert kind.__name__ in classes and kind.__doc__
    model: type[BaseModel] = kind.Config
    assert [key for key, field in model.model_fields.items() if not field.description] == []
    assert model.model_config.get("extra") == "forbid"


def test_every_example_is_of_a_plugin() -> None:
    assert {file.stem for file in (ROOT / "examples" / "plugins").glob("*.yaml")} == set(BUILT_IN)
