"""Which registry a service is asked for at."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

from headgate.config.discovered import Found
from headgate.config.registries import (
    ConsulConfig,
    DockerConfig,
    KubernetesConfig,
    RegistryKind,
    parse_registered,
)
from headgate.config.resolver import ResolverConfig

from ..outcomes import Outcome
from ..resolving import Lookups
from . import consul, dns_sd, docker, kubernetes
from .listed import Listing, outcomes


def registered(
    address: str, config: ResolverConfig, lookups: Lookups, known: Sequence[Found] = ()
) -> AsyncGenerator[Outcome, None]:
    """What the registry of `consul:web` (and so on) comes to, for ever; `known` is what was found before."""
    sought = parse_registered(address)
    sources: Mapping[RegistryKind, Callable[[], AsyncIterator[Listing]]] = {
        "consul": lambda: consul.listings(config.consul or ConsulConfig(), sought),
        "kubernetes": lambda: kubernetes.listings(config.kubernetes or KubernetesConfig(), sought),
        "docker": lambda: docker.listings(config.docker or DockerConfig(), sought),
        "dns-sd": lambda: dns_sd.listings(lookups, sought),
    }
    return outcomes(
        sources[sought.kind],
        is_secure=sought.is_secure,
        hold_s=config.hold,
        suspect_below=config.suspect_below,
        known=tuple(json.dumps(dict(one)) for one in known),
    )
