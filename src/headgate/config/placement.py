"""Where servers are and what they are marked with: priorities, zones, and subsets by metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from .addresses import LISTED
from .errors import ConfigError
from .settings import Settings
from .units import percent

if TYPE_CHECKING:
    from .upstreams import UpstreamConfig

USUAL_FACTOR = 1.4
"""Envoy's, of overprovisioning."""
MOST_MARKS = 16
"""Metadata of one server: a subset may be asked for by each combination of them."""

_ZONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,62}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,62}")


def check_zone(value: str) -> str:
    """A zone as it is; raises `ConfigError`."""
    if not _ZONE.fullmatch(value):
        raise ConfigError(
            f"`{value}` is not a valid zone", hint="write letters, digits, `-`, `_`, `.`: `eu-1a`"
        )
    return value


Zone = Annotated[str, AfterValidator(check_zone)]
"""Where a server or a gateway is, as the operator names it."""


def check_metadata(value: dict[str, str]) -> dict[str, str]:
    """Metadata as they are; raises `ConfigError`."""
    if len(value) > MOST_MARKS:
        raise ConfigError(f"there are {len(value)} metadata", hint=f"give at most {MOST_MARKS}")
    for name, text in value.items():
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"`{name}` is not a valid name of metadata",
                hint="write letters, digits, `-`, `_`, `.`: `version`",
            )
        if not 0 < len(text) <= 255 or not text.isprintable() or " " in text:
            raise ConfigError(
                f"`{text[:80]}` is not a valid value of metadata",
                hint="write 1 to 255 printable characters without spaces: `v2`",
            )
    return value


Metadata = Annotated[dict[str, str], AfterValidator(check_metadata)]
"""What servers are marked with: names and values."""


def _wanted(value: dict[str, str]) -> dict[str, str]:
    if not value:
        raise ConfigError("a subset without metadata is all servers", hint="leave it out")
    return value


SubsetWanted = Annotated[Metadata, AfterValidator(_wanted)]
"""The metadata that the servers of a subset have."""


class LocalityConfig(Settings):
    """The preference for servers that are near. Short form: `zone`."""

    short_forms: ClassVar = ({"type": "string", "enum": ["zone"]},)

    prefer: Literal["zone"] = Field(
        default="zone",
        description="`zone`: the servers of the gateway's own zone take requests while enough of them are in rotation.",
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"prefer": value} if isinstance(value, str) else value


class PlacementConfig(Settings):
    """Which servers of an upstream come first, and which ones requests may ask for."""

    overprovisioning: float = Field(
        default=USUAL_FACTOR,
        ge=1,
        le=1000,
        description=(
            "Servers of one priority, or of the own zone, take all requests while the share of their weight that is in "
            "rotation, times this factor, is 1 or more; else the rest goes to the next. 1000: only when none is left."
        ),
    )
    locality: LocalityConfig | None = Field(
        default=None, description="The preference for servers in the gateway's `zone`; default: none."
    )
    subset_fallback: Literal["none", "any"] | SubsetWanted = Field(
        default="none",
        description=(
            "Where requests with a `subset` go while no server of it is in rotation: `none` (503 if there is no such "
            "server), `any` (to all), or the metadata of another subset."
        ),
    )

    @model_validator(mode="after")
    def _places(self) -> Self:
        check_placement(self)  # type: ignore[arg-type]
        return self


def check_placement(upstream: UpstreamConfig) -> None:
    """Raises `ConfigError` for what has no effect, as far as servers are not found in lists, which may say all this."""
    for server in upstream.servers:
        if server.backup and server.priority:
            raise ConfigError(
                f"`{server.address}` is a `backup` with a `priority`",
                hint="a backup comes after all priorities: remove one of them",
            )
    if any(server.address.startswith(LISTED) for server in upstream.servers):
        return
    has_zones = any(server.zone for server in upstream.servers)
    if upstream.locality and not has_zones:
        raise ConfigError(
            "`locality` has no effect: no server has a `zone`", hint="write `zone: eu-1a` on servers"
        )
    priorities = {server.priority for server in upstream.servers if not server.backup}
    is_said = upstream.overprovisioning != USUAL_FACTOR
    if is_said and len(priorities) < 2 and not upstream.locality:
        raise ConfigError(
            "`overprovisioning` has no effect: all servers have the same priority",
            hint="write `priority: 1` on those that come second, or set `locality: zone`",
        )
    if upstream.subset_fallback != "none" and not any(server.metadata for server in upstream.servers):
        raise ConfigError(
            "`subset_fallback` has no effect: no server has `metadata`",
            hint="write `metadata: {version: v2}` on servers",
        )


def placement_snapshot(upstream: PlacementConfig, zone: str | None) -> dict[str, Any]:
    """The same for the engine; `zone` is the gateway's own."""
    fallback = upstream.subset_fallback
    return {
        "overprovisioning_percent": percent(upstream.overprovisioning),
        "zone": zone if upstream.locality else None,
        "subset_fallback": None if fallback == "none" else {} if fallback == "any" else dict(fallback),
    }


def is_in(metadata: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a server with these metadata is in a subset."""
    return all(metadata.get(name) == value for name, value in wanted.items())


def shown(wanted: Mapping[str, str]) -> str:
    """A subset in messages."""
    return ", ".join(f"{name}: {value}" for name, value in wanted.items())


def values_of(name: str, servers: Iterable[Mapping[str, str]]) -> list[str]:
    """The values that servers have of a name, in order."""
    return sorted({metadata[name] for metadata in servers if name in metadata})
