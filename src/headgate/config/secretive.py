"""Where secrets may stand, told by the types of settings; and texts without what is secret in them."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr

from .secrets import MASK as MASK

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_PASSWORD = re.compile(r"(?<=://)([^\s/?#@:]*):([^\s/?#@]+)@")


def without_secrets(text: str) -> str:
    """A text whose type says nothing of secrets, with private keys and passwords of URLs masked."""
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(MASK, text)
    return _PASSWORD.sub(rf"\1:{MASK}@", text) if "://" in text else text


def choices(annotation: Any) -> list[Any]:
    """The types that a value may have, secrets first."""
    if get_origin(annotation) is Annotated:
        return choices(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        every = [one for argument in get_args(annotation) for one in choices(argument)]
        return sorted(every, key=lambda one: one not in (SecretStr, SecretBytes))
    return [annotation]


def is_secretive(annotation: Any) -> bool:
    """Whether a secret may stand somewhere in a value of this type."""
    return contains(annotation, is_secret)


def is_secret(choice: Any) -> bool:
    """Whether a type is of secrets themselves."""
    return choice in (SecretStr, SecretBytes)


def contains(annotation: Any, is_it: Callable[[Any], bool], seen: set[Any] | None = None) -> bool:
    """Whether a value of this type may have one of certain types somewhere in it."""
    seen = set() if seen is None else seen
    for choice in choices(annotation):
        if is_it(choice):
            return True
        if isinstance(choice, type) and issubclass(choice, BaseModel) and choice not in seen:
            seen.add(choice)
            if any(contains(field.annotation, is_it, seen) for field in choice.model_fields.values()):
                return True
        if any(contains(one, is_it, seen) for one in get_args(choice) if one is not Ellipsis):
            return True
    return False


def hides(model: Any, path: tuple[str | int, ...]) -> bool:
    """Whether a value at a path below `model` may hold a secret, or stands where one is expected."""
    found = [model]
    for part in path:
        below = [one for annotation in found for one in _below(annotation, part)]
        if not below:
            break  # a part that pydantic has added, such as the name of a choice: what is known decides
        found = below
    return any(is_secretive(one) or Any in get_args(one) for one in found)


def _below(annotation: Any, part: str | int) -> list[Any]:
    found: list[Any] = []
    for choice in choices(annotation):
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            found += [
                field.annotation for name, field in choice.model_fields.items() if part in (name, field.alias)
            ]
        elif arguments := _inner(choice):
            is_mapping = issubclass(get_origin(choice), Mapping)
            if is_mapping is isinstance(part, str):
                found.append(arguments[-1])
    return found


def _inner(choice: Any) -> list[Any]:
    """What a mapping or a list is of."""
    if not isinstance(get_origin(choice), type):
        return []
    return [one for one in get_args(choice) if one is not Ellipsis]


def with_secrets(annotation: Any, value: Any, read: Callable[[str], str]) -> Any:
    """A value whose secrets are what `read` makes of their texts."""
    for choice in choices(annotation):
        if choice is SecretStr and isinstance(value, str):
            return read(value)
        if isinstance(choice, type) and issubclass(choice, BaseModel) and isinstance(value, Mapping):
            of = {name: field.annotation for name, field in choice.model_fields.items()}
            of |= {field.alias: field.annotation for field in choice.model_fields.values() if field.alias}
            return {key: with_secrets(of.get(key), inner, read) for key, inner in value.items()}
        arguments = _inner(choice)
        if not arguments or not is_secretive(choice):
            continue
        if isinstance(value, Mapping) and issubclass(get_origin(choice), Mapping):
            return {key: with_secrets(arguments[-1], inner, read) for key, inner in value.items()}
        if isinstance(value, list | tuple) and not issubclass(get_origin(choice), Mapping):
            return [with_secrets(arguments[-1], inner, read) for inner in value]
    return value
