"""Settings that nobody means, put into each setting of each plugin: refused when they are loaded, with a hint, or taken
and good for a gateway.

How it works: each plugin's example is the beginning. Each of its settings, and each of the tables in it, gets values by
its type in the schema. What can mean nothing has to be refused; what is only odd may be taken, and then the plugin has
to be set up without a failure.
"""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

import headgate.plugins
from headgate import ConfigError, Gateway, Plugin, _core
from headgate.compile.order import compile_gateway
from headgate.config.errors import LONGEST_MESSAGE
from headgate.plugins import BUILT_IN
from headgate.plugins._store import WhenAway

EXAMPLES = Path(__file__).parents[3] / "examples" / "plugins"
LONG = "x" * 20_000
MEANINGLESS: dict[str, list[Any]] = {
    "integer": [-1, -(10**30), "x", "", [], {}, True, 1.5, math.nan, math.inf, None],
    "number": [-1, -1e300, "x", "", [], {}, True, math.nan, math.inf, -math.inf, None],
    "boolean": ["maybe", 5, [], {}, None],
    "string": [5, 1.5, [], {}, None],
    "enum": ["nonsense", 5, [], None],
    "array": ["\0", {}, 5, None],
    "object": [5, "\0", [1], None],
}
ODD: dict[str, list[Any]] = {
    "integer": [0, 10**30],
    "number": [0, 1e-300, 1e300],
    "string": ["", LONG, "\0", "a\r\nb{", "~("],
    "array": [[], [None], [""], [[]], [{}]],
    "object": [{}, {"": None}, {"": ""}, {LONG: 1}],
}
MAY_BE_NEGATIVE = {"seed"}


def class_of(name: str) -> type[Plugin]:
    kind: type[Plugin] = getattr(headgate.plugins, BUILT_IN[name].rpartition(":")[2])
    return kind


def example(name: str) -> dict[str, Any]:
    uses = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())["plugins"]
    config: dict[str, Any] = next(use for use in uses if use["plugin"] == name).get("config", {})
    return config


def resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """What a setting may be, each as a schema."""
    if "$ref" in schema:
        return resolved(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    choices = schema.get("anyOf", [])
    return [one for choice in choices for one in resolved(choice, definitions)] if choices else [schema]


def settings(
    schema: dict[str, Any], config: Any, definitions: dict[str, Any], path: tuple[Any, ...] = ()
) -> Iterator[tuple[tuple[Any, ...], list[str]]]:
    """The path of each setting, and the types that it may have."""
    for key, field in schema.get("properties", {}).items():
        choices = resolved(field, definitions)
        kinds = ["enum" if "enum" in one or "const" in one else one.get("type", "any") for one in choices]
        yield (*path, key), kinds
        given = config.get(key) if isinstance(config, dict) else None
        for choice in choices:
            if "properties" in choice and isinstance(given, dict):
                yield from settings(choice, given, definitions, (*path, key))
            if choice.get("type") == "array" and isinstance(given, list) and given:
                for item in resolved(choice.get("items", {}), definitions):
                    yield from settings(item, given[0], definitions, (*path, key, 0))


def changed(config: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(config)
    at: Any = made
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return made


def fault_of(kind: type[Plugin], config: dict[str, Any], *, is_meaningless: bool) -> str:
    """What is wrong with how settings are taken or refused."""
    try:
        plugin = kind(**config)
        if is_meaningless:
            return "it was taken"
        gate = Gateway()
        gate.route("/", to=gate.upstream("app", "127.0.0.1:1"))
        gate.use(plugin)
        _core.check(compile_gateway(gate).snapshot)
    except ConfigError as error:
        for problem in error.problems:
            if (
                not problem.hint
                or len(problem.message) > LONGEST_MESSAGE
                or "cannot be set up" in problem.message
            ):
                return f"hint: {problem.hint}; {problem.message[:200]}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


@pytest.fixture(autouse=True)
def _beside_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES.parents[1])


def fitting(name: str, tmp_path: Path) -> dict[str, Any]:
    """The example, with a folder that is there."""
    config = example(name)
    return {**config, "root": str(tmp_path)} if name == "precompressed" else config


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name not in ("google-functions", "isolated")])
def test_settings_that_nobody_means_are_refused_with_a_hint_or_harmless(name: str, tmp_path: Path) -> None:
    kind, config = class_of(name), fitting(name, tmp_path)
    kind(**config)
    schema = kind.Config.model_json_schema()
    found = list(settings(schema, config, schema.get("$defs", {})))
    faults = {}
    for path, kinds in found:
        odd = [value for one in kinds for value in ODD.get(one, [])]
        meaningless = [value for one in kinds for value in MEANINGLESS.get(one, [])]
        if (len(kinds) > 1 and set(kinds) != {kinds[0], "null"}) or "any" in kinds:
            odd, meaningless = odd + meaningless, []  # what one type is not, the other may be
        if "null" in kinds:
            meaningless = [value for value in meaningless if value is not None]
        if path[-1] in MAY_BE_NEGATIVE:
            meaningless = [value for value in meaningless if not is_negative(value)]
        for value, is_meaningless in [*((one, True) for one in meaningless), *((one, False) for one in odd)]:
            if fault := fault_of(kind, changed(config, path, value), is_meaningless=is_meaningless):
                faults[".".join(map(str, path)), str(value)[:20]] = fault
    assert found and faults == {}


def is_negative(value: Any) -> bool:
    return isinstance(value, int) and value < 0


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_setting_that_is_unknown_is_refused_with_the_nearest_name(name: str) -> None:
    kind = class_of(name)
    known = next(iter(kind.Config.model_fields))
    with pytest.raises(ConfigError) as refused:
        kind(**{**example(name), f"{known}_": 1, "zzzzzz": 1})
    hints = {problem.message.split("`")[1]: problem.hint for problem in refused.value.problems}
    assert f"did you mean `{known}`?" in (hints.get(f"{known}_") or "") and hints.get("zzzzzz")


def test_whoever_has_a_store_says_what_is_done_without_it() -> None:
    models = {name: class_of(name).Config.model_fields for name in BUILT_IN}
    with_store = {name for name, fields in models.items() if "redis" in fields}
    assert with_store >= {"rate-limit", "quota", "concurrency-limit", "waiting-room", "replay-protection"}
    for name in with_store:
        described = f"{models[name].get('when_away')}{models[name]['redis_timeout'].description}"
        assert "away" in described or "Without Redis" in described, name
    assert WhenAway is not None and issubclass(class_of("quota").Config, BaseModel)
