"""Merges the resources of a store with what a file says.

How it works: the file is loaded as ever. Its gateway is then copied, and resources are added to the copy as if the file
had listed them last, each kind in the order of names. What the file defines itself stays as it says: a resource of
the same name is left out, and `merged` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

from headgate.config.discovered import Sets
from headgate.config.errors import ConfigError, Problem, Where
from headgate.config.errors import Path as ConfigPath
from headgate.config.hooks import PluginConfig
from headgate.config.plugin_sets import PluginSetConfig
from headgate.config.resources import KINDS, Resources, parsed
from headgate.config.routes import RouteConfig
from headgate.config.settings import Settings
from headgate.config.tls import CertificateConfig
from headgate.config.upstreams import UpstreamConfig
from headgate.gateway import Gateway
from headgate.listener import Listener
from headgate.route import Route, Upstream

from .awaiting import take_out_awaiting
from .documents import Finder, route_of, take_plugin_set, use_plugin
from .masking import shown


class Known(NamedTuple):
    """A document that was read before, and what it came to."""

    document: Mapping[str, Any]
    settings: Settings
    route: Route | None = None


Parsed = dict[tuple[str, str], Known]
"""By kind and name."""


class Merged:
    """A gateway with resources; `left_out` names those that the file has itself, as `routes/NAME`, and `awaiting` the
    routes of the file that respond with 503 until the store has a resource, with its name.
    """

    def __init__(
        self, base: Gateway, resources: Resources, known: Parsed | None = None, found: Sets | None = None
    ) -> None:
        self._base, self._resources = base, resources
        self._known = {} if known is None else known
        self._names: dict[str, list[str]] = {}
        self.left_out: list[str] = []
        self._errors: list[ConfigError] = []
        gateway = copy(base)
        parts = base._parts
        gateway._parts = self._parts = replace(
            parts,
            hooks=list(parts.hooks),
            routes=list(parts.routes),
            first_resource_route=len(parts.routes),
            upstreams=dict(parts.upstreams),
            plugins=list(parts.plugins),
            plugin_sets=dict(parts.plugin_sets),
            listeners=list(parts.listeners),
            identity_fields=set(parts.identity_fields),
            secret_query=set(parts.secret_query),
            secret_paths=set(parts.secret_paths),
            places=dict(parts.places),
            found={} if found is None else found,
            document=self.locate,
        )
        gateway._hooks = gateway._parts.hooks
        self.gateway = gateway
        self._add()
        if self._errors:
            raise ConfigError([problem for error in self._errors for problem in error.problems])
        self.awaiting = take_out_awaiting(self._parts, len(parts.routes))

    def check_against(self, awaiting: Mapping[str, str]) -> None:
        """Raises `ConfigError` if routes of the file would miss what they have now; `awaiting` are those that do."""
        lost = [
            Problem(f"route `{route}` of the file uses `{missing}`", "change the file first", Where(missing))
            for route, missing in self.awaiting.items()
            if awaiting.get(route) != missing
        ]
        if lost:
            raise ConfigError(lost)

    def locate(self, path: ConfigPath) -> Where | None:
        """The line of the file, or the resource, that says what stands at a path of the merged model."""
        if resource := self.resource_at(path):
            return Where(f"{resource[0]}/{resource[1]}")
        return self._base._parts.locate(path)

    def resource_at(self, path: ConfigPath) -> tuple[str, str] | None:
        """Kind and name of the resource that a path of the merged model leads to."""
        kind = next((one for one in KINDS.values() if path and one.key == path[0]), None)
        if kind is None or len(path) < 2:
            return None
        names = self._names.get(kind.name, [])
        if isinstance(path[1], int):
            first = len(getattr(self._base._parts, kind.key, ()))
            return (kind.name, names[path[1] - first]) if 0 <= path[1] - first < len(names) else None
        return (kind.name, path[1]) if path[1] in names else None

    def _add(self) -> None:
        folder = self._parts.folder
        finder = Finder(folder, self.locate)
        taken = {route.config.name for route in self._base._parts.routes}
        for name, upstream in self._all("upstreams", self._parts.upstreams):
            place = partial(self.locate, ("upstreams", name))
            self._parts.upstreams[name] = Upstream(name, cast(UpstreamConfig, upstream), place)
        for name, route in self._all("routes", taken):
            self._names["routes"].append(name)
            if (plain := self._plain_route(name, cast(RouteConfig, route))) is not None:
                self._parts.routes.append(plain)
                continue
            path = ("routes", len(self._parts.routes))
            with _Collecting(self._errors):
                self._parts.routes.append(route_of(cast(RouteConfig, route), path, self, finder))
        taken = {use.config.name for use in self._base._parts.plugins}
        for name, use in self._all("plugins", taken):
            path = ("plugins", len(self._parts.plugins))
            self._names["plugins"].append(name)
            with _Collecting(self._errors):
                use_plugin(self.gateway, cast(PluginConfig, use), path, self, finder)
        for name, one in self._all("plugin-sets", self._parts.plugin_sets):
            with _Collecting(self._errors):
                take_plugin_set(self.gateway, name, cast(PluginSetConfig, one), self, finder)
        for kind in (KINDS["consumers"], KINDS["consumer-groups"]):
            taken = self._parts.settings.get(kind.key, {})
            if more := dict(self._all(kind.name, taken)):
                self._parts.settings = {**self._parts.settings, kind.key: {**taken, **more}}
        self._add_certificates([cast(CertificateConfig, one) for _, one in self._all("certificates", ())])

    def _plain_route(self, name: str, config: RouteConfig) -> Route | None:
        """The route, made once for as long as its document stays, if it has no code that is to be found."""
        known = self._known["routes", name]
        if known.route is None and not config.when and not config.hooks.model_fields_set:
            known = known._replace(route=Route(config, None, Where(f"routes/{name}")))
            self._known["routes", name] = known
        return known.route

    def _all(self, kind: str, taken: Any) -> Iterator[tuple[str, Settings]]:
        self._names[kind] = []
        for name, document in sorted(self._resources.get(kind, {}).items()):
            if name in taken and name not in self._names[kind]:
                self.left_out.append(f"{kind}/{name}")
                continue
            try:
                one = self._parsed(kind, name, document)
            except ConfigError as error:
                self._errors.append(error)
                continue
            if kind not in ("routes", "plugins"):  # which have positions in lists
                self._names[kind].append(name)
            yield name, one

    def _parsed(self, kind: str, name: str, document: Mapping[str, Any]) -> Settings:
        known = self._known.get((kind, name))
        if known and (known.document is document or known.document == document):
            return known.settings
        one = parsed(KINDS[kind], name, document)
        self._known[kind, name] = Known(document, one)
        return one

    def _add_certificates(self, certificates: list[CertificateConfig]) -> None:
        """Every listener with certificates gets them; which one is shown, the name says that is asked for."""
        if not certificates:
            return
        for position, listener in enumerate(self._parts.listeners):
            tls = listener.config.tls
            if tls is None or listener.config.tls_passthrough:
                continue
            more = tls.model_copy(update={"certificates": (*tls.certificates, *certificates)})
            changed = Listener(listener.config.model_copy(update={"tls": more}), listener.place)
            changed._hooks.extend(listener._hooks)
            self._parts.listeners[position] = changed


class _Collecting:
    """Keeps a `ConfigError` of the block instead of raising it."""

    def __init__(self, errors: list[ConfigError]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        if isinstance(error, ConfigError):
            self._errors.append(error)
            return True
        return False


def as_with_an_empty_store(base: Gateway) -> Gateway:
    """The gateway of a file as it serves while its store holds nothing; itself, where it has no store."""
    settings = base._parts.settings
    return Merged(base, {}).gateway if settings.get("store") or settings.get("admin") else base


def shown_alone(base: Gateway) -> dict[str, Any]:
    """What a file says, as it may be shown; also of routes that use what its store has to hold."""
    gateway = as_with_an_empty_store(base)
    content = shown(gateway.config)
    for position, (route, used) in enumerate(zip(base._parts.routes, gateway._parts.routes, strict=False)):
        if used is not route:
            content["routes"][position] = route._described().model_dump(mode="json", by_alias=True)
    return content
