"""Phases: the table, and the checks of hooks' signatures against it."""

import functools
import linecache
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from headgate._hook_checks import MATCH, check_hook, check_phase_name, defined_at, is_async, shown_name
from headgate.config.errors import ConfigError
from headgate.phases import PHASES


class Signer:
    """An object that is called, and one with a method."""

    async def __call__(self, request: Any) -> None: ...

    def sign(self, request: Any) -> None: ...


def good(request: Any) -> None: ...


async def waiting(request: Any) -> None: ...


@functools.wraps(good)
def wrapped(*arguments: Any, **options: Any) -> None: ...


def anything(*arguments: Any) -> None: ...


def with_default(request: Any, depth: int = 1) -> None: ...


def unused(_request: Any) -> None: ...


def unnamed(_: Any) -> None: ...


def options(request: Any, *, depth: int = 1, **more: Any) -> None: ...


@pytest.mark.parametrize(
    "hook",
    [good, waiting, wrapped, anything, with_default, unused, unnamed, options, Signer(), Signer().sign,
     functools.partial(with_default, depth=2), lambda request: None],
)  # fmt: skip
def test_what_can_be_called_with_the_phases_arguments_passes(hook: Callable[..., Any]) -> None:
    check_hook(PHASES["request"], hook)


def none() -> None: ...


def short_name(req: Any) -> None: ...


def two(request: Any, more: Any) -> None: ...


def swapped(response: Any, request: Any) -> None: ...


def keyword(request: Any, *, depth: int) -> None: ...


def yields(request: Any) -> Any:
    yield


async def async_yields(request: Any) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("phase", "hook", "reason"),
    [
        ("request", none, r"takes `\(\)`"),
        ("request", short_name, r"takes `\(req\)`, but phase `request` gives `\(request\)`"),
        ("request", two, "takes"),
        ("response", swapped, r"gives `\(request, response\)`"),
        ("request", keyword, "takes"),
        ("request", yields, "yields"),
        ("request", async_yields, "yields"),
        ("request", "text", "is not a function"),
        ("startup", good, r"gives `\(\)`"),
    ],
)
def test_other_signatures_are_refused(phase: str, hook: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        check_hook(PHASES[phase], hook)
    assert refused.value.hint


def test_a_refused_hook_is_told_with_the_line_of_its_def() -> None:
    with pytest.raises(ConfigError) as refused:
        check_hook(PHASES["request"], short_name)
    assert refused.value.problems[0].where == defined_at(short_name)
    assert refused.value.hint == "write `def short_name(request)`"


def test_a_decorated_hook_is_told_with_its_def_not_its_decorator() -> None:
    @functools.cache
    @functools.lru_cache(
        maxsize=3,
    )
    def decorated(req: Any) -> None: ...

    where = defined_at(decorated)
    assert where
    assert where.line
    assert "def decorated" in linecache.getline(where.file, where.line)


def test_matchers_do_not_wait() -> None:
    check_hook(MATCH, good)
    with pytest.raises(ConfigError, match="async"):
        check_hook(MATCH, waiting)


@pytest.mark.parametrize(
    ("hook", "verdict"),
    [
        (good, False),
        (waiting, True),
        (Signer(), True),
        (Signer().sign, False),
        (functools.partial(waiting), True),
    ],
)
def test_async_hooks_are_known(hook: Callable[..., Any], verdict: bool) -> None:
    assert is_async(hook) is verdict


def test_names_tell_where_a_hook_is_from() -> None:
    assert shown_name(good) == "test_phases.py:good"
    assert shown_name(Signer().sign) == "Signer.sign"


def test_an_unknown_phase_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as refused:
        check_phase_name("requst")
    assert refused.value.hint == "did you mean `request`?"


def test_every_phase_is_described() -> None:
    for phase in PHASES.values():
        assert phase.when
        assert phase.may
        assert phase.openresty
