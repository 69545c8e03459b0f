"""Certificates and keys that a configuration holds as text, or refers to as secrets: as files, which the engine reads.

How it works: a file is named by the digest of what it holds, so that processes which write it at once write the same,
and a changed text is another file. Its folder is the node's state folder; only the owner may read it.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headgate.config.atomic_files import replace_file
from headgate.config.consistency import Inconsistency
from headgate.config.errors import ConfigError
from headgate.config.errors import Path as ConfigPath
from headgate.config.model import GatewayConfig
from headgate.config.secrets import is_reference, resolved
from headgate.config.state_folders import states_folder
from headgate.config.tls import PEM, CertificateConfig

if TYPE_CHECKING:
    from headgate._parts import Parts

KEPT_S = 30 * 86400.0
"""Files that no process has used for so long are removed."""


def with_certificate_files(config: GatewayConfig, parts: Parts) -> GatewayConfig:
    """The configuration with paths only; raises `ConfigError` for a secret that cannot be read, or a folder."""
    folder = (
        Path(parts.folder / config.state_folder if config.state_folder else states_folder()) / "certificates"
    )
    files = _Files(folder)
    listeners, upstreams = list(config.listeners), dict(config.upstreams)
    try:
        for position, listener in enumerate(listeners):
            if tls := listener.tls:
                path: ConfigPath = ("listeners", position, "tls", "certificates")
                every = tuple(files.of(one, (*path, n)) for n, one in enumerate(tls.certificates))
                if every != tls.certificates:
                    tls = tls.model_copy(update={"certificates": every})
                    listeners[position] = listener.model_copy(update={"tls": tls})
        for name, upstream in upstreams.items():
            if (client := upstream.tls) and client.certificate:
                one = files.of(client.certificate, ("upstreams", name, "tls", "certificate"))
                if one != client.certificate:
                    client = client.model_copy(update={"certificate": one})
                    upstreams[name] = upstream.model_copy(update={"tls": client})
    except Inconsistency as error:
        raise error.at(parts.locate(error.path)) from None
    if not files.used:
        return config
    files.forget_old()
    return config.model_copy(update={"listeners": tuple(listeners), "upstreams": upstreams})


class _Files:
    """The files of one configuration."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.used: set[Path] = set()

    def of(self, one: CertificateConfig, path: ConfigPath) -> CertificateConfig:
        """The certificate, with files for what is a text."""
        update: dict[str, Any] = {}
        for key, given in (("certificate", one.certificate), ("key", one.key)):
            if given is not None and (given.startswith(PEM) or is_reference(given)):
                update[key] = self._found(given, (*path, key))
        return one.model_copy(update=update) if update else one

    def _found(self, given: str, path: ConfigPath) -> str:
        try:
            return self._file(given)
        except ConfigError as error:
            raise Inconsistency(path, error.message, error.hint) from None

    def _file(self, given: str) -> str:
        text = given if given.startswith(PEM) else resolved(given)
        if not text.lstrip().startswith(PEM):
            raise ConfigError("the secret is not PEM", hint=f"it begins with `{PEM}...`")
        data = text.strip().encode() + b"\n"
        file = self._folder / f"{hashlib.sha256(data).hexdigest()[:40]}.pem"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _holds(file, data):
                with suppress(OSError):
                    os.utime(file)
            else:
                replace_file(file, data, is_durable=False)
        except OSError as error:
            raise ConfigError(
                f"`{self._folder}` cannot be written: {(error.strerror or str(error)).lower()}",
                hint="certificates in a configuration are kept there; set `state_folder`",
            ) from None
        self.used.add(file)
        return str(file.absolute())

    def forget_old(self) -> None:
        """Removes what has not been used for long."""
        for file in self._folder.iterdir():
            with suppress(OSError):
                if file not in self.used and time.time() - file.stat().st_mtime > KEPT_S:
                    file.unlink()


def _holds(file: Path, data: bytes) -> bool:
    """Whether a file has this content: after a loss of power one may be there that is empty."""
    try:
        return file.read_bytes() == data
    except FileNotFoundError:
        return False
