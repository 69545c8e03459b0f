"""The configuration: one typed model, read from Python, YAML, TOML or JSON, and made into the engine's snapshot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .addresses import Address, TcpAddress, UnixAddress, parse_listen_address, parse_server_address
from .errors import ConfigError, Problem, Where

if TYPE_CHECKING:
    from headgate.gateway import Gateway

    from .model import GatewayConfig, ListenerConfig
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
    "load",
    "parse_listen_address",
    "parse_server_address",
]


_OF_THE_MODEL = {
    "GatewayConfig": "model",
    "ListenerConfig": "model",
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


def load(path: str | os.PathLike[str]) -> Gateway:
    """The gateway that `path` describes, by its suffix: `.py`, `.yaml`, `.yml`, `.toml` or `.json`.

    Raises `ConfigError`, with file, line and hint, for whatever is wrong with it.
    """
    # The only step from here up to the gateway: importing this package alone must not load it.
    from headgate.loading import load as load_gateway

    return load_gateway(path)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, for editors and other programs."""
    from .model import GatewayConfig

    schema = GatewayConfig.model_json_schema(by_alias=True, mode="validation")
    properties = {"$schema": {"type": "string"}, **schema["properties"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "properties": properties}
