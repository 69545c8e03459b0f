"""The decorators of every phase, made from the table of phases; their types are in the stub beside this file."""

from ._decorators import BodyPhaseDecorator, PhaseDecorator
from .phases import PHASES, Phase


def _decorator(phase: Phase) -> property:
    kind = BodyPhaseDecorator if phase.has_body else PhaseDecorator
    return property(lambda self: kind(phase.name, self._hooks), doc=phase.description)


def _decorators(*scopes: str) -> dict[str, property]:
    return {name: _decorator(phase) for name, phase in PHASES.items() if phase.scope in scopes}


RoutePhases = type("RoutePhases", (), _decorators("route"))
GatewayPhases = type("GatewayPhases", (RoutePhases,), _decorators("worker", "connection", "gateway"))
ListenerPhases = type("ListenerPhases", (), _decorators("connection"))
StreamPhases = type("StreamPhases", (ListenerPhases,), _decorators("listener"))
