"""Builds a gateway from a YAML, TOML or JSON document: the same model, with hooks and plugins found by name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from headgate._decorators import RegisteredHook, registered
from headgate.config.documents import Document
from headgate.config.errors import ConfigError, Locate, Where, suggestion
from headgate.config.errors import Path as ConfigPath
from headgate.config.hooks import BodyHookConfig, PluginConfig
from headgate.config.listeners import ListenerConfig, TcpListenerConfig, UdpListenerConfig
from headgate.config.model import GatewayConfig
from headgate.config.plugin_sets import PluginSetConfig
from headgate.config.resolvers import add_resolver
from headgate.config.routes import RouteConfig
from headgate.config.settings import Settings
from headgate.gateway import Gateway
from headgate.listener import Listener, StreamListener
from headgate.phases import PHASES
from headgate.plugin import Plugin, PluginSet, PluginUse
from headgate.plugins import BUILT_IN
from headgate.route import Route, Upstream

from .explaining import problem
from .plugin_names import reference_of

RESOLVERS = "secret_resolvers"


def gateway_of_document(document: Document, folder: Path) -> Gateway:
    """The gateway; raises `ConfigError` with the line of what is wrong."""
    finder = Finder(folder, document.locate)
    _take_resolvers(document, finder)
    config = GatewayConfig.parse(document.values, locate=document.locate, is_in_file=True)
    document.values.clear()  # the model has it all, and there may be much
    gate = Gateway()
    parts = gate._parts
    parts.adopt(config, folder, document.locate)
    parts.listeners.extend(
        _listener(one, ("listeners", n), document, finder) for n, one in enumerate(config.listeners)
    )
    for key, listeners in (("tcp", parts.tcp), ("udp", parts.udp)):
        listeners.extend(
            _stream_listener(one, (key, n), document, finder) for n, one in enumerate(getattr(config, key))
        )
    parts.upstreams.update(
        {
            name: Upstream(name, one, partial(document.locate, ("upstreams", name)))
            for name, one in config.upstreams.items()
        }
    )
    parts.routes.extend(route_of(one, ("routes", n), document, finder) for n, one in enumerate(config.routes))
    parts.hooks.extend(_hooks(config.hooks, ("hooks",), document, finder))
    for n, one in enumerate(config.plugins):
        use_plugin(gate, one, ("plugins", n), document, finder)
    for name, plugins in config.plugin_sets.items():
        take_plugin_set(gate, name, plugins, document, finder)
    return gate


def _take_resolvers(document: Document, finder: Finder) -> None:
    """Finds the functions that fetch secrets, before anything that may hold a secret is read."""
    given = {key: document.values[key] for key in (RESOLVERS,) if key in document.values}
    if not given:
        return
    for scheme, reference in GatewayConfig.parse(given, locate=document.locate).secret_resolvers.items():
        path = (RESOLVERS, scheme)
        try:
            add_resolver(scheme, finder.find(reference, path))
        except ConfigError as error:
            raise error.at(document.locate(path)) from None


def _listener(config: ListenerConfig, path: ConfigPath, document: Document, finder: Finder) -> Listener:
    listener = Listener(config, partial(document.locate, path))
    listener._hooks.extend(_hooks(config.hooks, (*path, "hooks"), document, finder))
    return listener


def _stream_listener(
    config: TcpListenerConfig | UdpListenerConfig, path: ConfigPath, document: Document, finder: Finder
) -> StreamListener:
    listener = StreamListener(config, partial(document.locate, path))
    listener._hooks.extend(_hooks(config.hooks, (*path, "hooks"), document, finder))
    return listener


def route_of(config: RouteConfig, path: ConfigPath, document: Located, finder: Finder) -> Route:
    """A route with its matcher and hooks, as `path` of a document says."""
    matcher = finder.find(config.when, (*path, "when")) if config.when else None
    try:
        route = Route(config, matcher, partial(document.locate, path))
    except ConfigError as error:
        raise error.at(document.locate((*path, "when"))) from None
    if config.hooks.model_fields_set:
        route._hooks.extend(_hooks(config.hooks, (*path, "hooks"), document, finder))
    return route


def _hooks(
    hooks: Settings,
    path: ConfigPath,
    document: Located,
    finder: Finder,
) -> list[RegisteredHook]:
    found: list[RegisteredHook] = []
    for phase in sorted(hooks.model_fields_set, key=list(type(hooks).model_fields).index):
        for position, hook in enumerate(getattr(hooks, phase)):
            function = finder.find(hook.function, (*path, phase, position))
            said: dict[str, Any] = {
                "deadline": hook.deadline,
                "on_error": hook.on_error,
                "reference": hook.function,
            }
            if isinstance(hook, BodyHookConfig):
                # what the file leaves out is as the function says
                said |= {
                    key: getattr(hook, key)
                    for key in ("mode", "limit", "decode")
                    if key in hook.model_fields_set
                }
            try:
                found.append(registered(PHASES[phase], function, **said))
            except ConfigError as error:
                raise error.at(document.locate((*path, phase, position))) from None
    return found


def use_plugin(
    gate: Gateway, config: PluginConfig, path: ConfigPath, document: Located, finder: Finder
) -> None:
    """Makes a plugin as `path` of a document says, and uses it."""
    _make_plugin(config, path, document, finder, gate._take_plugin)


def take_plugin_set(
    gate: Gateway, name: str, config: PluginSetConfig, document: Located, finder: Finder
) -> None:
    """Makes the plugins of a set as a document says, for whatever names the set."""
    path: ConfigPath = ("plugin_sets", name)
    uses: list[PluginUse] = []
    for n, one in enumerate(config.plugins):
        _make_plugin(one, (*path, "plugins", n), document, finder, uses.append)
    try:
        gate._take_plugin_set(PluginSet(name, config, tuple(uses), partial(document.locate, (*path, "on"))))
    except ConfigError as error:
        raise error.moved(lambda _: document.locate(path)) from None


def _make_plugin(
    config: PluginConfig,
    path: ConfigPath,
    document: Located,
    finder: Finder,
    take: Callable[[PluginUse], None],
) -> None:
    locate = partial(document.locate, (*path, "plugin"))
    try:
        reference = config.plugin if ":" in config.plugin else reference_of(config.plugin)
    except ConfigError as error:
        raise error.at(locate()) from None
    if config.isolate:
        # its module is not imported here: the plugin that isolates it does so in another process
        settings, reference = {"plugin": reference, "config": config.config}, BUILT_IN["isolated"]
    else:
        settings = config.config
    kind = finder.find(reference, (*path, "plugin"))
    if not (isinstance(kind, type) and issubclass(kind, Plugin)):
        hint = "a plugin is a subclass of `Plugin`"
        raise ConfigError(f"`{config.plugin}` is not a plugin", hint=hint, where=locate())
    try:
        plugin = kind(**settings)
        take(PluginUse(plugin, config.on, config, partial(document.locate, (*path, "on"))))
    except ConfigError as error:
        # The settings' own lines are in the document, not where Python made the object.
        raise error.moved(lambda inner: document.locate((*path, "config", *inner[1:]))) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        where = locate()
        shown = problem(error, Path(where.file if where else "."))
        raise ConfigError(
            f"plugin `{config.plugin}` cannot be set up: {shown.message}", hint=shown.hint, where=where
        ) from error


class Located(Protocol):
    """What knows where things stand that were read, as a document does."""

    def locate(self, path: ConfigPath) -> Where | None:
        """The place of the value at a path."""


class Finder:
    """Finds what `module:name` names, in the file's folder first."""

    def __init__(self, folder: Path, locate: Locate) -> None:
        self._folder = folder
        self._locate = locate
        self._fresh: set[str] = set()

    def find(self, reference: str, path: ConfigPath) -> Any:
        """The object that the value at `path` names."""
        try:
            return self._found(reference)
        except ConfigError as error:
            raise error.at(self._locate(path)) from error.__cause__

    def _found(self, reference: str) -> Any:
        module_name, _, name = reference.rpartition(":")
        if module_name.startswith("."):
            raise ConfigError(
                f"`{reference}` is relative, and a configuration file is in no package",
                hint=f"the file's folder is on the path: write `{reference.lstrip('.')}`",
            )
        self._forget_twin(module_name.partition(".")[0])
        try:
            found: Any = importlib.import_module(module_name)
        except ConfigError:
            raise
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise ConfigError(f"`{module_name}` cannot be imported: {error}") from error
            beside = sorted(file.stem for file in self._folder.glob("*.py"))
            raise ConfigError(
                f"there is no module `{module_name}`", hint=suggestion(module_name, beside)
            ) from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            shown = problem(error, self._folder / f"{module_name}.py")
            raise ConfigError(
                f"`{module_name}` cannot be imported: {shown.message}", hint=shown.hint
            ) from error
        for part in name.split("."):
            if not hasattr(found, part):
                names = [
                    one for one, value in vars(found).items() if callable(value) and not one.startswith("_")
                ]
                hint = suggestion(part, names)
                raise ConfigError(f"`{module_name}` has no `{part}`", hint=hint)
            found = getattr(found, part)
        return found

    def _forget_twin(self, name: str) -> None:
        """A module of that name from another gateway's folder is not ours, though Python has it in memory."""
        beside = [self._folder / f"{name}.py", self._folder / name / "__init__.py"]
        loaded = getattr(sys.modules.get(name), "__file__", None)
        is_here = any(file.is_file() for file in beside)
        if name not in self._fresh and is_here and loaded is not None and Path(loaded) not in beside:
            for known in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
                del sys.modules[known]
            importlib.invalidate_caches()
        self._fresh.add(name)
