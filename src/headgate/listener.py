"""Listeners as a Python file handles them."""

from __future__ import annotations

from ._decorators import ListenerPhases, RegisteredHook
from .config.errors import Where
from .config.hooks import ListenerHooksConfig
from .config.listeners import ListenerConfig


class Listener(ListenerPhases):
    """An address clients connect to; hooks of its connections hang on it as `@listener.connect`."""

    def __init__(self, config: ListenerConfig, where: Where | None) -> None:
        self.config = config
        self.hooks: list[RegisteredHook] = []
        self.where = where

    @property
    def name(self) -> str:
        """Its name in logs."""
        return self.config.name

    def described(self) -> ListenerConfig:
        """The listener as the model shows it, with its hooks by their references."""
        named = {
            name: [hook.described() for hook in self.hooks if hook.phase == name]
            for name in ListenerHooksConfig.model_fields
        }
        return self.config.model_copy(update={"hooks": ListenerHooksConfig.model_validate(named)})

    def __repr__(self) -> str:
        return f"<Listener {self.config.address}>"
