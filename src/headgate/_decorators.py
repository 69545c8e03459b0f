"""The decorators that register hooks of a gateway and of a route: `@gate.request`, `@route.response(deadline="1s")`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ._caller import caller
from ._hook_checks import Hook, check_hook, shown_name
from .config.errors import ConfigError
from .config.hooks import BodyHookConfig, BodyMode, HookConfig, OnError
from .phases import PHASES, Phase

if TYPE_CHECKING:
    from .native.telling import NativeHook

H = TypeVar("H")


@dataclass(frozen=True)
class RegisteredHook:
    """A checked hook with what its user said about it; `None` means as the route or the gateway says."""

    phase: str
    function: Hook
    deadline: float | None = None
    on_error: OnError | None = None
    name: str = ""
    reference: str = ""
    plugin: str | None = None
    body: BodyHookConfig | None = None
    """How a hook of a body phase takes the body."""
    native: NativeHook | None = field(default=None, compare=False)
    """What the engine does in place of calling it."""

    def described(self) -> HookConfig:
        """The hook as the model shows it."""
        said = {"function": self.reference, "deadline": self.deadline, "on_error": self.on_error}
        if self.body is not None:
            return self.body.model_copy(update=said)
        return HookConfig.model_validate(said)


def registered(
    phase: Phase,
    function: Hook,
    *,
    deadline: float | str | None = None,
    on_error: str | None = None,
    reference: str | None = None,
    **body: Any,
) -> RegisteredHook:
    """Checks a hook and what was said about it; `body` is what hooks of body phases say besides."""
    check_hook(phase, function)
    said = {"function": reference or _reference(function), "deadline": deadline, "on_error": on_error, **body}
    if phase.has_body:
        checked: HookConfig = BodyHookConfig.parse(
            {**_marked(function), **said}, path=(phase.name,), locate=lambda _: caller()
        )
    else:
        _refuse_mark(phase, function)
        checked = HookConfig.parse(said, path=(phase.name,), locate=lambda _: caller())
    return RegisteredHook(
        phase.name,
        function,
        checked.deadline,
        checked.on_error,
        shown_name(function),
        checked.function,
        body=checked if isinstance(checked, BodyHookConfig) else None,
    )


_MARK = "_headgate_body_mode"


def body_mode(mode: BodyMode, *, limit: int | str | None = None, decode: bool = False) -> Callable[[H], H]:
    """Sets how a body hook takes the body, for methods of plugins and functions that are named in files.

    `stream`: in chunks; `buffer`: whole, up to `limit`; `decode`: without its Content-Encoding.
    """
    said = {"mode": mode, "limit": limit, "decode": decode}
    BodyHookConfig.parse({"function": "a:b", **said}, path=("body_mode",), locate=lambda _: caller())

    def mark(function: H) -> H:
        setattr(function, _MARK, said)
        return function

    return mark


def marked_body(phase: str, function: Hook) -> BodyHookConfig | None:
    """How a plugin's hook takes the body, if its phase is of one."""
    if not PHASES[phase].has_body:
        return None
    return BodyHookConfig.model_validate({"function": _reference(function), **_marked(function)})


def _marked(function: Hook) -> dict[str, Any]:
    return dict(getattr(function, _MARK, {}))


def _refuse_mark(phase: Phase, function: Hook) -> None:
    if _marked(function):
        raise ConfigError(
            f"hook `{shown_name(function)}` has a body mode, but phase `{phase.name}` has no body",
            hint="`body_mode` is for request_body and response_body",
        )


class PhaseDecorator(Generic[H]):
    """Registers a hook for one phase: bare, or called with `deadline` and `on_error`."""

    def __init__(self, phase: str, hooks: list[RegisteredHook]) -> None:
        self._phase = PHASES[phase]
        self._hooks = hooks

    @overload
    def __call__(self, function: H, /) -> H: ...

    @overload
    def __call__(
        self, *, deadline: float | str | None = None, on_error: OnError | None = None
    ) -> Callable[[H], H]: ...

    def __call__(
        self, function: Any = None, *, deadline: float | str | None = None, on_error: OnError | None = None
    ) -> Any:
        """Registers `function` and gives it back."""

        def register(given: Any) -> Any:
            try:
                self._hooks.append(registered(self._phase, given, deadline=deadline, on_error=on_error))
            except ConfigError as error:
                raise error.at(caller()) from None
            return given

        return register if function is None else register(function)


class BodyPhaseDecorator(PhaseDecorator[H]):
    """Registers a hook for a body phase: bare, or called with how it takes the body too."""

    @overload
    def __call__(self, function: H, /) -> H: ...

    @overload
    def __call__(
        self,
        *,
        mode: BodyMode = "stream",
        limit: int | str | None = None,
        decode: bool = False,
        deadline: float | str | None = None,
        on_error: OnError | None = None,
    ) -> Callable[[H], H]: ...

    def __call__(self, function: Any = None, **said: Any) -> Any:
        """Registers `function` and gives it back."""

        def register(given: Any) -> Any:
            try:
                self._hooks.append(registered(self._phase, given, **said))
            except ConfigError as error:
                raise error.at(caller()) from None
            return given

        return register if function is None else register(function)


def _reference(function: Hook) -> str:
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}:{getattr(function, '__qualname__', type(function).__qualname__)}"
