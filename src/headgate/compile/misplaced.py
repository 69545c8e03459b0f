"""Zones and subsets in which no server is: told by `headgate check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from headgate.config.addresses import LISTED
from headgate.config.errors import Path, Problem, suggestion
from headgate.config.model import GatewayConfig
from headgate.config.placement import is_in, shown, values_of
from headgate.config.upstreams import UpstreamConfig
from headgate.gateway import Gateway

Marks = Sequence[Mapping[str, str]]


def misplaced(gateway: Gateway, config: GatewayConfig) -> Iterator[Problem]:
    """As far as servers are those that are written: lists of servers say where these are, and when they are read."""
    for path, problem in (*_zones(config), *_subsets(config)):
        yield problem._replace(where=gateway._parts.locate(path), path=path)


def _zones(config: GatewayConfig) -> Iterator[tuple[Path, Problem]]:
    for name, upstream in config.upstreams.items():
        if not upstream.locality:
            continue
        path = ("upstreams", name, "locality")
        zones = sorted({server.zone for server in upstream.servers if server.zone})
        if config.zone is None:
            yield (
                path,
                Problem(
                    f"`locality` of `{name}` has no effect: the gateway has no `zone`",
                    "set `zone`, or `HEADGATE_CONFIG_ZONE` on each node",
                ),
            )
        elif config.zone not in zones and not _is_listed(upstream):
            hint = suggestion(config.zone, zones)
            yield path, Problem(f"no server of `{name}` is in the gateway's zone `{config.zone}`", hint)


def _subsets(config: GatewayConfig) -> Iterator[tuple[Path, Problem]]:
    for number, route in enumerate(config.routes):
        if route.subset and (upstream := config.upstreams.get(route.to or "")):
            yield from _subset(upstream, route.to or "", route.subset, ("routes", number, "subset"))
        elif route.subset and route.to and route.to not in config.upstreams and not config.store:
            problem = Problem(
                f"`{route.to}` is one server, without metadata",
                "name an upstream whose servers have `metadata`",
            )
            yield ("routes", number, "subset"), problem
    for name, upstream in config.upstreams.items():
        if not isinstance(fallback := upstream.subset_fallback, str):
            yield from _subset(upstream, name, fallback, ("upstreams", name, "subset_fallback"))


def _subset(
    upstream: UpstreamConfig, name: str, wanted: Mapping[str, str], path: Path
) -> Iterator[tuple[Path, Problem]]:
    marks: Marks = [server.metadata for server in upstream.servers]
    if _is_listed(upstream) or any(is_in(one, wanted) for one in marks):
        return
    for key, value in wanted.items():
        if value not in (values := values_of(key, marks)):
            hint = suggestion(value, values) if values else f"write `metadata: {{{key}: {value}}}` on servers"
            yield path, Problem(f"no server of `{name}` has `{key}: {value}`", hint)
            return
    yield path, Problem(f"no server of `{name}` has all of `{shown(wanted)}`", "mark one, or ask for less")


def _is_listed(upstream: UpstreamConfig) -> bool:
    return any(server.address.startswith(LISTED) for server in upstream.servers)
