"""Listeners as a Python file handles them."""

from __future__ import annotations

from ._caller import Place, Placed
from ._decorators import RegisteredHook
from ._phase_decorators import ListenerPhases, StreamPhases
from .config.hooks import ListenerHooksConfig, StreamHooksConfig
from .config.listeners import ListenerConfig, TcpListenerConfig, UdpListenerConfig


class Listener(ListenerPhases, Placed):
    """An address that clients connect to, with decorators for its hooks, such as `@listener.connect`."""

    def __init__(self, config: ListenerConfig, place: Place) -> None:
        self.config = config
        self._hooks: list[RegisteredHook] = []
        self.place = place

    @property
    def name(self) -> str:
        """Its name in logs."""
        return self.config.name

    def _described(self) -> ListenerConfig:
        """The listener as the model shows it, with its hooks by their references."""
        hooks = ListenerHooksConfig.model_validate(_by_phase(self._hooks, ListenerHooksConfig))
        return self.config.model_copy(update={"hooks": hooks})

    def __repr__(self) -> str:
        return f"<Listener {self.config.address}>"


class StreamListener(StreamPhases, Placed):
    """A TCP or UDP listener, with decorators for its hooks, such as `@listener.client_data`."""

    def __init__(self, config: TcpListenerConfig | UdpListenerConfig, place: Place) -> None:
        self.config = config
        self._hooks: list[RegisteredHook] = []
        self.place = place

    @property
    def name(self) -> str:
        """Its name in logs."""
        return self.config.name

    def _described(self) -> TcpListenerConfig | UdpListenerConfig:
        """The listener as the model shows it, with its hooks by their references."""
        hooks = StreamHooksConfig.model_validate(_by_phase(self._hooks, StreamHooksConfig))
        return self.config.model_copy(update={"hooks": hooks})

    def __repr__(self) -> str:
        return f"<StreamListener {self.config.address}>"


def _by_phase(
    hooks: list[RegisteredHook], model: type[ListenerHooksConfig] | type[StreamHooksConfig]
) -> dict[str, object]:
    return {name: [hook.described() for hook in hooks if hook.phase == name] for name in model.model_fields}
