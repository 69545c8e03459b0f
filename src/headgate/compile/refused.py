"""What the engine says of a snapshot that it refuses, as an error about the user's file: its line, and a hint."""

from __future__ import annotations

import re
from collections.abc import Callable

from headgate.config.errors import ConfigError, Locate, Problem
from headgate.config.errors import Path as ConfigPath
from headgate.config.model import GatewayConfig
from headgate.config.snapshot import route_names

Refused = Callable[[str], ConfigError]
"""The engine's text as an error about the user's file."""

_SUBJECT = re.compile(r"(route|listener|upstream) `(.*?)`:? (?!from\b)", re.S)
_KEY = re.compile(r"([a-z_0-9]+(?:\.[a-z_0-9]+)*)(?::| `)")
_REGEX = re.compile(r"regex parse error:.*error: ", re.S)


def refused(text: str, config: GatewayConfig, locate: Locate) -> ConfigError:
    """The error about the part of `config` that the engine's `text` begins with."""
    message, *rest = re.split(r"(?:\n|; )hint: ", text.strip())
    hint = "; ".join(" ".join(one.split()) for one in rest) or None
    path, message = _place(_REGEX.sub("", message), config)
    sentence = " ".join(message.split())
    return ConfigError([Problem(sentence, hint, locate(path) if path else None, path)])


def _place(message: str, config: GatewayConfig) -> tuple[ConfigPath, str]:
    """Where the subject of a message stands; a subject that is named twice is named once."""
    if subject := _SUBJECT.match(message):
        kind, name = subject[1], subject[2]
        while message.startswith(subject[0] * 2):
            message = message[len(subject[0]) :]
        return _named(kind, name, message, config), message
    if (key := _KEY.match(message)) and key[1].partition(".")[0] in GatewayConfig.model_fields:
        return tuple(key[1].split(".")), message
    return (), message


def _named(kind: str, name: str, message: str, config: GatewayConfig) -> ConfigPath:
    if kind == "route":
        names = route_names(config)
        part = ("path",) if "path pattern" in message else ("files",) if "folder" in message else ()
        return ("routes", names.index(name), *part) if name in names else ()
    if kind == "upstream":
        return ("upstreams", name)
    for key in ("listeners", "tcp", "udp"):
        for position, one in enumerate(getattr(config, key)):
            if name in (one.name, one.address):
                return (key, position, *(("tls",) if getattr(one, "tls", None) else ()))
    return ()
