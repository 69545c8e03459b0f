"""Documents as they may be shown: secrets masked, found by the type of their setting and not by its name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr

from headgate.config.hooks import PluginConfig
from headgate.config.model import GatewayConfig
from headgate.config.resources import KINDS
from headgate.config.secretive import choices, contains, is_secret, is_secretive, without_secrets
from headgate.config.secrets import MASK, is_reference

from .plugin_names import reference_of


def masked(kind: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """A resource's document without its secrets; where they come from stays to be read."""
    found = KINDS.get(kind)
    shown: dict[str, Any] = _masked(found.model, dict(document)) if found else _all_masked(dict(document))
    return shown


def _masked_use(use: Mapping[str, Any]) -> dict[str, Any]:
    """What a use of a plugin says of its settings, without their secrets."""
    config = use.get("config")
    if not isinstance(config, Mapping):
        return {}
    model = _settings_of(str(use.get("plugin", "")))
    return {"config": _masked(model, dict(config)) if model else _all_masked(dict(config))}


def shown(config: GatewayConfig) -> dict[str, Any]:
    """A whole configuration, defaults included, without its secrets."""
    whole = config.model_dump(mode="json", by_alias=True)
    for use in (*whole["plugins"], *(use for one in whole["plugin_sets"].values() for use in one["plugins"])):
        use.update(_masked_use(use))
    shown: dict[str, Any] = _without_secrets(whole)
    return shown


def has_mask(kind: str, document: Mapping[str, Any]) -> bool:
    """Whether a masked secret stands where a secret is to be."""
    if _holds(document, lambda text: f":{MASK}@" in text):
        return True  # the password of a URL
    return _holds(document, MASK.__eq__) and _holds(masked(kind, _probe(document)), MASK.__eq__)


def _probe(value: Any) -> Any:
    """A value in which only masks are texts that masking hides: all others become references."""
    if isinstance(value, Mapping):
        # the name of a plugin says what its settings are
        return {key: inner if key == "plugin" else _probe(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_probe(inner) for inner in value]
    return "a secret" if value == MASK else "env:x" if isinstance(value, str) else None


def _holds(value: Any, is_it: Callable[[str], bool]) -> bool:
    if isinstance(value, Mapping):
        return any(_holds(inner, is_it) for inner in value.values())
    if isinstance(value, list):
        return any(_holds(inner, is_it) for inner in value)
    return isinstance(value, str) and is_it(value)


def _settings_of(name: str) -> type[BaseModel] | None:
    """The settings' model of a plugin that is loaded."""
    try:
        module, _, path = (name if ":" in name else reference_of(name)).partition(":")
    except ValueError:
        return None
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    model = getattr(found, "Config", None)
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _masked(annotation: Any, value: Any) -> Any:
    """What does not fit its type is masked whole, if a secret might stand in it."""
    for choice in choices(annotation):
        if choice in (SecretStr, SecretBytes):
            return value if isinstance(value, str) and is_reference(value) else _all_masked(value)
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            if isinstance(value, Mapping):
                shown = {key: _of_field(choice, key, inner) for key, inner in value.items()}
                return shown | (_masked_use(value) if issubclass(choice, PluginConfig) else {})
            continue
        arguments = [one for one in get_args(choice) if one is not Ellipsis]
        if not arguments or not isinstance(get_origin(choice), type):
            continue
        if issubclass(get_origin(choice), Mapping):
            if isinstance(value, Mapping):
                return {key: _masked(arguments[-1], inner) for key, inner in value.items()}
        elif isinstance(value, list | tuple):
            return [_masked(arguments[-1], inner) for inner in value]
        elif is_secretive(choice):
            return _masked(arguments[-1], value)  # one item in place of a list of one
    return _all_masked(value) if is_secretive(annotation) else _without_secrets(value)


def _of_field(model: type[BaseModel], key: str, value: Any) -> Any:
    fields = _hiding_fields(model)
    return _masked(fields[key], value) if key in fields else _without_secrets(value)


@cache
def _hiding_fields(model: type[BaseModel]) -> dict[str, Any]:
    """The types of those fields, by name and alias, in which a secret may stand; most fields are none of them."""
    return {
        key: field.annotation
        for name, field in model.model_fields.items()
        for key in (name, field.alias)
        if key is not None and contains(field.annotation, _may_hide)
    }


def _may_hide(choice: Any) -> bool:
    return is_secret(choice) or (isinstance(choice, type) and issubclass(choice, PluginConfig))


def _without_secrets(value: Any) -> Any:
    """A value whose type says nothing of secrets."""
    if isinstance(value, Mapping):
        return {key: _without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(inner) for inner in value]
    return without_secrets(value) if isinstance(value, str) else value


def _all_masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _all_masked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_all_masked(inner) for inner in value]
    if isinstance(value, str) and is_reference(value):
        return value
    return value if value is None or isinstance(value, bool) else MASK
