"""What stands between the engine and a plugin's hook: the conditions of its uses, and `mode: report`.

How it works: a hook runs if one of its uses is for the request. For a plugin with several hooks that is decided by the
first of them from phase `request` on, and kept for the request: what one hook takes another gives back, whatever has
become of the request in between.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from headgate._hook_checks import Hook, is_async
from headgate.config.expressions import Expression
from headgate.config.patterns import matches_path, other_readings
from headgate.phases import PHASES

from .reporting import reporting

if TYPE_CHECKING:
    from headgate._core import Request
    from headgate.consumers import Consumers

Mode = Literal["enforce", "report"]


class Condition(NamedTuple):
    """Which requests one use of a plugin is for: all that is said must hold."""

    pattern: str | None = None
    listener: str | None = None
    consumer: str | None = None
    when: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Guard:
    """What is said of a plugin's hook: conditions, one of which must hold (none: always), and its mode."""

    conditions: tuple[Condition, ...] = ()
    mode: Mode = "enforce"
    phase: str = "request"
    kept_as: str | None = field(default=None)
    """The name under which the decision is kept in `request.state`; none: each hook decides."""

    def told(self) -> dict[str, Any]:
        """As JSON says it."""
        conditions = [list(one) for one in self.conditions]
        return {"conditions": conditions, "mode": self.mode, "phase": self.phase, "kept_as": self.kept_as}

    @classmethod
    def of(cls, told: dict[str, Any]) -> Guard:
        """From what `told` gave."""
        conditions = tuple(Condition(*one) for one in told["conditions"])
        return cls(conditions, told["mode"], told["phase"], told["kept_as"])


def guarded(function: Hook) -> tuple[Hook, Guard]:
    """The function and the guard that `guard` was given."""
    return getattr(function, "_guarded", (function, Guard()))


def guard(method: Hook, said: Guard) -> Hook:
    """`method`, called only as the guard says."""
    function = reporting(method, said.phase) if said.mode == "report" else method
    if said.conditions:
        context = getattr(getattr(method, "__self__", None), "_headgate_context", None)
        function = _conditional(function, _decision(said, context and context.consumers))
    if function is not method:
        function._guarded = (method, said)  # type: ignore[attr-defined]
    return function


def _conditional(function: Hook, is_meant: Callable[..., bool]) -> Hook:
    if is_async(function):

        async def wait(request: Request, *rest: object) -> object:
            return await function(request, *rest) if is_meant(request, *rest) else None

        return wait

    def call(request: Request, *rest: object) -> object:
        return function(request, *rest) if is_meant(request, *rest) else None

    return call


def _decision(said: Guard, consumers: Consumers | None) -> Callable[..., bool]:
    checks = [_check(one, consumers) for one in said.conditions]
    first = checks[0]
    decide = (
        first
        if len(checks) == 1
        else lambda request, response: any(check(request, response) for check in checks)
    )
    arguments = PHASES[said.phase].arguments
    if "error" in arguments:
        inner = decide

        def of_error(request: Request, error: Any) -> bool:
            return inner(request, SimpleNamespace(status=error.status, headers={}))

        decide = of_error
    has_response = len(arguments) > 1 and arguments[1] in ("response", "error")
    kept_as = said.kept_as

    def decided(request: Request, response: Any = None, *_: object) -> bool:
        if kept_as is None:
            return bool(decide(request, response if has_response else None))
        kept = vars(request.state)
        if kept_as not in kept:
            kept[kept_as] = bool(decide(request, response if has_response else None))
        return bool(kept[kept_as])

    return decided


def _check(condition: Condition, consumers: Consumers | None) -> Callable[[Any, Any], bool]:
    """A function that says whether all of the condition holds."""
    checks: list[Callable[[Any, Any], bool]] = []
    if condition.pattern is not None:
        fits = matches_path(condition.pattern)
        checks.append(functools.partial(_is_on, fits))
    if condition.listener is not None:
        listener = condition.listener
        checks.append(lambda request, response: bool(request.client.listener == listener))
    if condition.consumer is not None:
        consumer = condition.consumer
        checks.append(lambda request, response: getattr(request.state, "consumer", None) == consumer)
    if condition.group is not None:
        checks.append(functools.partial(_is_in, condition.group, consumers))
    if condition.when is not None:
        expression = Expression(condition.when)
        checks.append(_with_response(expression) if expression.names_response else expression.function)
    if len(checks) == 1:
        return checks[0]
    return lambda request, response: all(check(request, response) for check in checks)


def _is_on(fits: Callable[[str], bool], request: Request, response: object) -> bool:
    path = request.path
    # also where only a server reads such a path: what a plugin checks holds for what servers understand
    return any(fits(read) for read in (path, *other_readings(path)))


def _is_in(group: str, consumers: Consumers | None, request: Request, response: object) -> bool:
    name = getattr(request.state, "consumer", None)
    found = consumers.named(name) if consumers and isinstance(name, str) else None
    return found is not None and group in found.groups


def _with_response(expression: Expression) -> Callable[[Any, Any], bool]:
    """In phase `log` there may have been no response."""
    return lambda request, response: bool(expression(request, _NONE if response is None else response))


_NONE = SimpleNamespace(status=0, headers={})


def needs_response(conditions: Sequence[Condition]) -> bool:
    """Whether one of the conditions is about the response."""
    return any(one.when is not None and Expression(one.when).names_response for one in conditions)
