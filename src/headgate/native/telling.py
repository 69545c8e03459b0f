"""What plugins say of their hooks, in the form in which the engine takes it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headgate._core import Passed, Period, Tally, check_native
from headgate.config.errors import ConfigError
from headgate.shared import Shared

from .actions import Action, Native, Part, Rate, Who

if TYPE_CHECKING:
    from headgate.plugin import Plugin

NativeHook = tuple[str, list[Shared], list[Passed], list[Period], list[Tally]]
"""The actions of one hook as the engine takes them: JSON, and what that names by position."""
PARTS = ("address", "host", "method", "path", "query", "target", "scheme", "route")
"""What actions can name of a request, beside its header fields."""
_PLACE = re.compile(r" at line \d+ column \d+")


def native_of(plugin: Plugin) -> Native:
    """What a plugin says of its hooks. What its class inherits does not count: a subclass may do something else."""
    if "native" not in vars(type(plugin)):
        return Native()
    said = plugin.native()
    if said is None:
        return Native()
    if not isinstance(said, Native):
        kind = type(plugin).__name__
        raise ConfigError(
            f"`native` of plugin `{kind}` gives `{said!r}`", hint="return a `headgate.native.Native`, or None"
        )
    for phase in (one.name for one in dataclasses.fields(Native) if one.name != "alone"):
        if getattr(said, phase) is not None and not hasattr(plugin, phase):
            raise ConfigError(
                f"`native` of plugin `{type(plugin).__name__}` has actions for `{phase}`, "
                "which the plugin has no hook for",
                hint=f"define `{phase}`: actions run in the place of a hook",
            )
    return said


def native_hook(plugin: Plugin, phase: str) -> NativeHook | None:
    """The actions of a plugin's hook in the engine's form; None if it has none."""
    actions: Sequence[Action] | None = getattr(native_of(plugin), phase, None)
    if actions is None:
        return None
    shared: list[Shared] = []
    passed: list[Passed] = []
    periods: list[Period] = []
    tallies: list[Tally] = []

    def plain(value: Any) -> Any:
        if isinstance(value, Shared):
            return _place(value, shared)
        if isinstance(value, Passed):
            return _place(value, passed)
        if isinstance(value, Period):
            return _place(value, periods)
        if isinstance(value, Tally):
            return _place(value, tallies)
        if isinstance(value, Part):
            return {"of": value.name}
        if isinstance(value, Action | Rate | Who):
            told = {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}  # type: ignore[arg-type]
            return {"kind": value.kind, **told} if isinstance(value, Action) else told
        if isinstance(value, Mapping):
            return [[name, plain(one)] for name, one in value.items()]
        return (
            [plain(one) for one in value]
            if isinstance(value, Sequence) and not isinstance(value, str)
            else value
        )

    text = json.dumps([plain(action) for action in actions], ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return None  # bytes that are no text: the hook knows what to make of them
    try:
        check_native(phase, (text, shared, passed, periods, tallies))
    except ValueError as error:
        said, hint = _told(str(error))
        kind = type(plugin).__name__
        raise ConfigError(
            f"`native` of plugin `{kind}`, phase `{phase}`: {said}", hint=hint or "see `headgate.native`"
        ) from None
    return text, shared, passed, periods, tallies


def _told(error: str) -> tuple[str, str]:
    """A message of the engine and its hint, without the place in JSON that nobody has written."""
    said, _, hint = _PLACE.sub("", error).replace("; hint: ", "\nhint: ").partition("\nhint: ")
    if "is not a valid part of a request" in said:
        hint = f"one of {', '.join(f'`{part}`' for part in PARTS)}, `header:NAME`"
    return said, hint


def can_set(name: str, value: str = "") -> bool:
    """Whether actions can set a header field of that name to that value: not those that the gateway writes itself."""
    try:
        text = json.dumps([{"kind": "edit_fields", "set": [[name, value]]}], ensure_ascii=False)
        check_native("request", (text, [], [], [], []))
    except ValueError:
        return False
    return True


def _place(value: Any, among: list[Any]) -> int:
    """The position of an object, which is added if it is new."""
    for position, known in enumerate(among):
        if known is value:
            return position
    among.append(value)
    return len(among) - 1
