"""The configuration: one typed model, the reading of its documents, and the engine's snapshot made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .addresses import Address, TcpAddress, UnixAddress, parse_listen_address, parse_server_address
from .errors import ConfigError, Problem, Where

if TYPE_CHECKING:
    from .listeners import ListenerConfig
    from .model import GatewayConfig
    from .routes import RouteConfig
    from .upstreams import ServerConfig, UpstreamConfig

__all__ = [
    "Address",
    "ConfigError",
    "GatewayConfig",
    "ListenerConfig",
    "Problem",
    "RouteConfig",
    "ServerConfig",
    "TcpAddress",
    "UnixAddress",
    "UpstreamConfig",
    "Where",
    "json_schema",
    "parse_listen_address",
    "parse_server_address",
]


_OF_THE_MODEL = {
    "GatewayConfig": "model",
    "ListenerConfig": "listeners",
    "RouteConfig": "routes",
    "ServerConfig": "upstreams",
    "UpstreamConfig": "upstreams",
}


def __getattr__(name: str) -> Any:
    """Loads the model only when it is asked for: reading an address needs none of it."""
    if name not in _OF_THE_MODEL:
        raise AttributeError(f"module `headgate.config` has no attribute `{name}`")
    import importlib

    return getattr(importlib.import_module(f".{_OF_THE_MODEL[name]}", __name__), name)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, for editors and other programs."""
    from .model import GatewayConfig

    schema = GatewayConfig.model_json_schema(by_alias=True, mode="validation")
    paths = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    include = {**paths, "description": "Paths or globs of files that are part of this one."}
    properties = {"$schema": {"type": "string"}, "include": include, **schema["properties"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "properties": properties}
