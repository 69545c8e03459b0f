"""The TLS parts of the snapshot: files by absolute path, each of which must be there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .consistency import Inconsistency
from .errors import Path as ConfigPath
from .model import GatewayConfig
from .state_folders import states_folder
from .tls import CertificateConfig, TlsConfig, UpstreamTlsConfig
from .upstreams import UpstreamConfig


def listener_tls(
    tls: TlsConfig, folder: Path, path: ConfigPath, *, http2: bool, has_hook: bool, acme: Path | None = None
) -> dict[str, Any]:
    """TLS of a listener; `path` is where it stands in the model, `http2` whether HTTP/2 may be offered, `has_hook`
    whether a hook may give certificates, `acme` the folder of those that are ordered.
    """
    if not (tls.certificates or tls.local or tls.acme or has_hook):
        hint = "give `certificates`, `local` names, `acme: true`, or a `client_hello` hook"
        raise Inconsistency(path, "TLS without a certificate", hint)
    clients = tls.client_certificates
    listed = [(one, (*path, "certificates", position)) for position, one in enumerate(tls.certificates)]
    return {
        "certificates": [
            _certificate(one, folder, at) for one, at in listed if not (folder / one.certificate).is_dir()
        ],
        "folders": [_folder(one, folder, at) for one, at in listed if (folder / one.certificate).is_dir()],
        "local": {"names": list(tls.local), "folder": str(authority_folder())} if tls.local else None,
        "acme": _acme(acme) if tls.acme and acme else None,
        "policy": tls.policy,
        "alpn": [name for name in tls.alpn if http2 or name != "h2"],
        "refuses_other_alpn": tls.alpn_mismatch == "refuse",
        "refuses_unknown_names": tls.unknown_names == "refuse",
        "host_mismatch": tls.host_mismatch,
        "tickets": tls.tickets,
        "client_certificates": {
            "mode": clients.mode,
            "ca": _files(clients.ca, folder, (*path, "client_certificates", "ca")),
            "crl": _files(clients.crl, folder, (*path, "client_certificates", "crl")),
        },
    }


def authority_folder() -> Path:
    """Where this user's certificate authority for development lies: `$HEADGATE_DATA_DIR`, else the XDG data folder."""
    if given := os.environ.get("HEADGATE_DATA_DIR"):
        return Path(given).absolute() / "authority"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "headgate" / "authority"


def acme_folder(config: GatewayConfig, folder: Path) -> Path:
    """Where ordered certificates lie; a relative `acme.folder` is below the configuration file's folder."""
    given = config.acme and config.acme.folder
    return (folder / given).absolute() if given else states_folder() / "acme"


def upstream_tls(name: str, upstream: UpstreamConfig, folder: Path) -> dict[str, Any] | None:
    """How an upstream's `https://` servers are spoken to; `None` if it has none."""
    if not upstream.is_secure:
        return None
    tls = upstream.tls or UpstreamTlsConfig()
    path = ("upstreams", name, "tls")
    return {
        "verify": tls.verify,
        "ca": _files(tls.ca, folder, (*path, "ca")),
        "server_name": tls.server_name,
        "pins": list(tls.pins),
        "certificate": tls.certificate and _certificate(tls.certificate, folder, (*path, "certificate")),
        "policy": tls.policy,
        "alpn": [upstream.protocol if upstream.protocol != "http1" else "http/1.1"],
    }


def _acme(folder: Path) -> dict[str, str]:
    return {name: str(folder / name) for name in ("certificates", "challenges")}


def _certificate(certificate: CertificateConfig, folder: Path, path: ConfigPath) -> dict[str, Any]:
    return {
        "chain": _file(certificate.certificate, folder, (*path, "certificate")),
        "key": _file(certificate.key or certificate.certificate, folder, (*path, "key")),
        "names": list(certificate.names),
        "ocsp": certificate.ocsp and _file(certificate.ocsp, folder, (*path, "ocsp")),
    }


def _folder(certificate: CertificateConfig, folder: Path, path: ConfigPath) -> str:
    for name in ("key", "names", "ocsp"):
        if getattr(certificate, name):
            raise Inconsistency(
                (*path, name),
                f"`{certificate.certificate}` is a directory, whose certificates have their own",
                "keys lie in `NAME.key`, responses in `NAME.ocsp`",
            )
    return str((folder / certificate.certificate).absolute())


def _files(names: Iterable[str], folder: Path, path: ConfigPath) -> list[str]:
    return [_file(name, folder, path) for name in names]


def _file(name: str, folder: Path, path: ConfigPath) -> str:
    file = (folder / name).absolute()
    if not file.is_file():
        reason = "is a directory, not a file" if file.is_dir() else "does not exist"
        raise Inconsistency(path, f"the file `{name}` {reason}", f"the full path is `{file}`")
    return str(file)
