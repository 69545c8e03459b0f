"""What inspection must do, without a test framework: `test_versions.py` runs it with every Python that is there."""

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headgate.inspection import CannotInspect, Inspection, Order

FOLDER = Path(__file__).parent


def load_sample() -> Any:
    """The module `sample`, loaded as `inspected_sample`."""
    spec = importlib.util.spec_from_file_location("inspected_sample", FOLDER / "sample.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["inspected_sample"] = module
    spec.loader.exec_module(module)
    return module


sample = load_sample()


def look(at: str, call: Callable[[], Any], **order: Any) -> tuple[Any, list[dict[str, Any]]]:
    """What `call` gives while the place is looked at, and what was told; nothing is told after."""
    told: list[dict[str, Any]] = []
    inspection = Inspection(Order(at, **order), told.append, lambda: None)
    inspection.begin()
    try:
        result = call()
    finally:
        inspection.end()
    seen = list(told)
    call()
    assert told == seen, "it is told of after the end"
    return result, seen


def at(mark: str) -> str:
    """The place of a marked line."""
    return f"inspection/sample.py:{sample.marked(mark)}"


def values(told: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [hit["values"] for hit in told]


def entry_shows_arguments() -> None:
    result, told = look("inspected_sample:double", lambda: sample.double(3))
    assert result == 6 and values(told) == [{"number": "3"}], told


def line_shows_locals() -> None:
    result, told = look(at("twice"), lambda: sample.double(3), show=("twice + 1", "[n for n in [number]]"))
    assert result == 6 and values(told) == [{"twice + 1": "7", "[n for n in [number]]": "[3]"}], told


def condition_chooses() -> None:
    _, told = look(at("twice"), lambda: [sample.double(n) for n in range(5)], condition="twice == 6")
    assert values(told) == [{"number": "3", "twice": "6"}], told


def count_ends() -> None:
    _, told = look("inspected_sample:double", lambda: [sample.double(n) for n in range(5)], count=2)
    assert values(told) == [{"number": "0"}, {"number": "1"}], told


def coroutine_is_looked_at() -> None:
    for place, hits in (("inspected_sample:waits", 1), (at("waited"), 3)):
        result, told = look(place, lambda: asyncio.run(sample.waits(3)))
        assert result == 3 and len(told) == hits, (place, told)


def closures_are_looked_at() -> None:
    made_before = sample.outer(1)
    for call in (lambda: sample.outer(1)(2), lambda: made_before(2), lambda: sample.kept["hidden"]() - 8):
        result, told = look(at("both"), call)
        assert result == 3 and len(told) == 1 and told[0]["values"]["both"] in ("3", "11"), told


def closure_made_meanwhile_is_let_go() -> None:
    told: list[dict[str, Any]] = []
    inspection = Inspection(Order(at("both")), told.append, lambda: None)
    inspection.begin()
    made = sample.outer(1)
    made(1)
    inspection.end()
    made(1)
    assert len(told) == 1, told


def methods_and_properties_are_found() -> None:
    shape = sample.Shape()
    for name, call in (
        ("Shape.area", lambda: shape.area(2)),
        ("Shape.corners", lambda: shape.corners),
        ("Shape.name", lambda: shape.name()),
        ("wrapped", lambda: sample.wrapped(1)),
    ):
        assert len(look(f"inspected_sample:{name}", call)[1]) == 1, name


def exceptions_go_their_way() -> None:
    for mark in ("within", "caught"):
        result, told = look(at(mark), lambda: sample.guarded(1))
        assert result == "2" and len(told) >= 1, (mark, told)


def two_at_once_do_not_meet() -> None:
    first: list[dict[str, Any]] = []
    second: list[dict[str, Any]] = []
    one = Inspection(Order(at("twice")), first.append, lambda: None)
    other = Inspection(Order("inspected_sample:double"), second.append, lambda: None)
    one.begin()
    other.begin()
    sample.double(1)
    one.end()
    sample.double(2)
    other.end()
    sample.double(3)
    assert (len(first), len(second)) == (1, 2)


def nothing_raises() -> None:
    for condition in ("nope", "1 / 0", "exit(1)", "(_ for _ in ()).throw(KeyboardInterrupt)"):
        result, told = look(at("twice"), lambda: [sample.double(n) for n in (1, 2)], condition=condition)
        assert result == [2, 4] and len(told) == 1 and "condition raised" in told[0]["error"], told
    result, told = look(at("twice"), lambda: sample.double(1), show=("1 / 0", "exit(1)"))
    assert result == 2 and "ZeroDivisionError" in told[0]["values"]["1 / 0"], told


def evaluation_may_come_by_again() -> None:
    result, told = look(at("twice"), lambda: sample.double(2), condition="double(number) == 4")
    assert result == 4 and len(told) == 1, told


def what_cannot_be_is_refused_with_the_nearest() -> None:
    for place, words in (
        ("inspected_sample:dubble", "did you mean `double`?"),
        ("inspected_simple:double", "did you mean `inspected_sample`?"),
        ("inspection/sample.py:9999", "hint: line"),
        ("no_such_file.py:1", "is loaded"),
        ("math:sqrt", "not a function written in Python"),
        ("double", "is not a valid place"),
    ):
        try:
            look(place, lambda: None)
        except CannotInspect as refused:
            assert words in str(refused), refused
        else:
            raise AssertionError(place)


SCENARIOS = [
    entry_shows_arguments,
    line_shows_locals,
    condition_chooses,
    count_ends,
    coroutine_is_looked_at,
    closures_are_looked_at,
    closure_made_meanwhile_is_let_go,
    methods_and_properties_are_found,
    exceptions_go_their_way,
    two_at_once_do_not_meet,
    nothing_raises,
    evaluation_may_come_by_again,
    what_cannot_be_is_refused_with_the_nearest,
]

if __name__ == "__main__":
    for scenario in SCENARIOS:
        scenario()
    print(f"{len(SCENARIOS)} scenarios")
