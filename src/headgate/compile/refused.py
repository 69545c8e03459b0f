"""What the engine says of a snapshot that it refuses, as an error about the user's file: its line, and a hint."""

from __future__ import annotations

import json
import re

from headgate.config.errors import ConfigError, Locate, Problem
from headgate.config.errors import Path as ConfigPath
from headgate.config.model import GatewayConfig

_SUBJECT = re.compile(r"(route|listener|upstream) `(.*?)`:? (?!from\b)", re.S)
_KEY = re.compile(r"([a-z_0-9]+(?:\.[a-z_0-9]+)*)(?::| `)")
_REGEX = re.compile(r"regex parse error:.*error: ", re.S)


class Explainer:
    """Makes the engine's text into an error about the user's file. Workers keep it: it holds no part of the model."""

    def __init__(self, snapshot: str, config: GatewayConfig, locate: Locate) -> None:
        self._snapshot = snapshot
        self._locate = locate
        self._listeners = [
            (key, position, (one.name, one.address), bool(getattr(one, "tls", None)))
            for key in ("listeners", "tcp", "udp")
            for position, one in enumerate(getattr(config, key))
        ]

    def __call__(self, text: str) -> ConfigError:
        """The error about the part of the configuration that the engine's `text` begins with."""
        message, *rest = re.split(r"(?:\n|; )hint: ", text.strip())
        hint = "; ".join(" ".join(one.split()) for one in rest) or None
        path, message = self._place(_REGEX.sub("", message))
        sentence = " ".join(message.split())
        return ConfigError([Problem(sentence, hint, self._locate(path) if path else None, path)])

    def _place(self, message: str) -> tuple[ConfigPath, str]:
        """Where the subject of a message stands; a subject that is named twice is named once."""
        if subject := _SUBJECT.match(message):
            kind, name = subject[1], subject[2]
            while message.startswith(subject[0] * 2):
                message = message[len(subject[0]) :]
            return self._named(kind, name, message), message
        if (key := _KEY.match(message)) and key[1].partition(".")[0] in GatewayConfig.model_fields:
            return tuple(key[1].split(".")), message
        return (), message

    def _named(self, kind: str, name: str, message: str) -> ConfigPath:
        if kind == "route":
            names = [route["name"] for route in json.loads(self._snapshot)["routes"]]
            part = ("path",) if "path pattern" in message else ("files",) if "folder" in message else ()
            return ("routes", names.index(name), *part) if name in names else ()
        if kind == "upstream":
            return ("upstreams", name)
        for key, position, known, has_tls in self._listeners:
            if name in known:
                return (key, position, *(("tls",) if has_tls else ()))
        return ()
