"""What a gateway has been told so far, and where: its parts, from which the model is made."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ._caller import caller
from ._decorators import RegisteredHook
from .config.discovered import Sets
from .config.errors import ConfigError, Locate, Where
from .config.errors import Path as ConfigPath
from .config.hooks import HooksConfig
from .config.listeners import TlsRouteConfig
from .config.model import GatewayConfig
from .config.plugin_sets import undefined
from .config.settings import Settings
from .listener import Listener, StreamListener
from .plugin import PluginSet, PluginUse
from .route import Route, Upstream

S = TypeVar("S", bound=Settings)

made_parts: ContextVar[list[Parts] | None] = ContextVar("made_parts", default=None)
"""Where a load notes what gateways are made."""


class ServerSource(NamedTuple):
    """A function that says which servers an upstream has."""

    function: Callable[[], Any]
    every_s: float
    """How often it is called; one that yields lists is called once."""


@dataclass
class Parts:
    """All that a gateway consists of, in the order in which it was said."""

    folder: Path
    """What file names are relative to."""
    file: Path | None = None
    """What it was loaded from, which tells it from other gateways of the folder; None where a program made it."""
    hooks: list[RegisteredHook] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    first_resource_route: int | None = None
    """The position of the first route that is a resource, as all after it are; None where no resources are merged."""
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    plugins: list[PluginUse] = field(default_factory=list)
    plugin_sets: dict[str, PluginSet] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    tcp: list[StreamListener] = field(default_factory=list)
    udp: list[StreamListener] = field(default_factory=list)
    tls_routes: list[TlsRouteConfig] = field(default_factory=list)
    identity_fields: set[str] = field(default_factory=set)
    """Header fields that clients may never send, in lower case with `-`."""
    found: Sets = field(default_factory=dict)
    """Servers that are known by a name, as they were found."""
    discover: dict[str, ServerSource] = field(default_factory=dict)
    """Functions that say the servers of upstreams, by the names of those."""
    acme_ask: Callable[[str], Any] | None = None
    """Decides for which names certificates are ordered on demand."""
    secret_query: set[str] = field(default_factory=set)
    """Query parameters from which plugins take secrets."""
    secret_paths: set[str] = field(default_factory=set)
    """Paths of which plugins say that segments are secrets."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The other keys of the model."""
    places: dict[ConfigPath, Where | None] = field(default_factory=dict)
    """The line that said what stands at a path of the model."""
    document: Locate | None = None
    """Knows the lines instead, where a document said it all."""
    made_at: Where | None = None
    """The line that made the gateway."""

    def check_own(self, upstream: Upstream) -> None:
        """Refuses an upstream that was made by another gateway."""
        if self.upstreams.get(upstream.name) is not upstream:
            raise ConfigError(f"the upstream `{upstream.name}` belongs to another gateway", where=caller())

    def config(self) -> GatewayConfig:
        """The whole of it as the model; raises `ConfigError` for parts that do not fit together."""
        named = {
            name: [hook.described() for hook in self.hooks if hook.phase == name]
            for name in HooksConfig.model_fields
        }
        whole = {
            **self.settings,
            "listeners": [listener._described() for listener in self.listeners],
            "tcp": [listener._described() for listener in self.tcp],
            "udp": [listener._described() for listener in self.udp],
            "tls_routes": self.tls_routes,
            "upstreams": {name: upstream.config for name, upstream in self.upstreams.items()},
            "routes": [route._described() for route in self.routes],
            "plugins": [use.config for use in self.plugins],
            "plugin_sets": {name: one.config for name, one in self.plugin_sets.items()},
            "hooks": HooksConfig.model_validate(named),
        }
        config = GatewayConfig.parse(whole, locate=self.locate)
        self._check_discovery()
        if problems := list(undefined(config.plugin_sets, config.naming_sets(), self.locate)):
            raise ConfigError(problems)
        return config

    def _check_discovery(self) -> None:
        """Raises `ConfigError` for an upstream whose servers a function is to say that there is not."""
        for name, upstream in self.upstreams.items():
            for server in upstream.config.servers:
                function = server.address.removeprefix("discover:")
                if function == server.address or ":" in function or function in self.discover:
                    continue
                raise ConfigError(
                    f"no function says the servers of the upstream `{name}`",
                    hint=f'decorate one with `@gate.discover("{function}")`, or write `discover:my_module:function`',
                    where=self.locate(("upstreams", name)),
                )

    def locator(self) -> Locate:
        """`locate`, without the parts themselves: it outlives them in workers."""
        return self.document or Parts(self.folder, places=self.places).locate

    def locate(self, path: ConfigPath) -> Where | None:
        """The line that said what stands at `path` of the model."""
        if self.document is not None:
            return self.document(path)
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return None

    def adopt(self, config: GatewayConfig, folder: Path, locate: Locate) -> None:
        """Takes settings from a document; `locate` knows its lines, `folder` is where it lies."""
        self.folder = folder
        self.document = locate
        self.tls_routes = list(config.tls_routes)
        self.settings = {key: getattr(config, key) for key in config.model_fields_set if key not in _PARTS}


_PARTS = (
    *("listeners", "tcp", "udp", "tls_routes", "upstreams", "routes", "plugins", "plugin_sets"),
    "hooks",
)
"""Keys of the model that are no settings."""


def parsed(model: type[S], value: Any, path: ConfigPath = ()) -> S:
    """`value` as the model that stands at `path`; errors name the line of the user's call."""
    return model.parse(value, path=path, locate=lambda _: caller())
