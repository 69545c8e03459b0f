"""`headgate proxy https://example.com`: a public name, for which a certificate is ordered.

How it works: that takes an agent, which only a configuration file has. So one is written next to the state of this
user's gateways, and served as `headgate run` would.
"""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headgate.cli.failing import FAILURE, USAGE, fail

HTTPS_PORT = 443


def public_name(listen: str) -> tuple[str, int] | None:
    """The host and the port, if `listen` is a URL of a host that public authorities give certificates for."""
    from headgate.config.model import is_orderable

    if not listen.lower().startswith("https://"):
        return None
    try:
        url = urlsplit(listen)
        host, port = url.hostname or "", url.port or HTTPS_PORT
    except ValueError:
        return None  # which the configuration refuses with a better reason
    if url.path not in ("", "/") or url.query or url.username or not is_orderable(host, wildcards=False):
        return None
    return host, port


def written(
    name: tuple[str, int], to: list[str], access_log: str | None, acme: dict[str, str | bool | None]
) -> Path:
    """The file that describes the gateway; ends the command if it cannot be written."""
    from headgate.config.atomic_files import make_folders, replace_file
    from headgate.config.state_folders import states_folder

    host, port = name
    described: dict[str, Any] = {
        "listeners": [{"address": f":{port}", "tls": "auto"}],
        "acme": {"names": [host], **{key: value for key, value in acme.items() if value}},
        "upstreams": {"proxy": {"servers": to}},
        "routes": [{"path": "/", "to": "proxy"}],
    }
    if access_log:
        described["access_log"] = access_log
    path = states_folder().absolute() / "proxy" / f"{host}-{port}.json"
    try:
        make_folders(path.parent)
        replace_file(path, json.dumps(described, indent=2).encode() + b"\n", is_durable=True)
    except OSError as error:
        fail(
            f"`{path}` cannot be written: {error.strerror}\n"
            "  hint: set HEADGATE_STATE_DIR to a directory of this user's",
            FAILURE,
        )
    return path


def checked(listen: str, acme: dict[str, str | bool | None]) -> tuple[str, int] | None:
    """The public name that certificates are ordered for, if there is one; ends the command where `acme` needs one."""
    name = public_name(listen)
    given = [key for key, value in acme.items() if value]
    if name is None and given:
        option = {"directory": "--acme-directory", "ca": "--acme-ca"}.get(given[0], f"--{given[0]}")
        fail(
            f"{option} is for a public name, and `{listen}` is not one\n"
            "  hint: write `https://example.com`, or leave it out",
            USAGE,
        )
    if name and (ca := acme.get("ca")) and not os.path.isfile(str(ca)):
        fail(f"--acme-ca: the file `{ca}` does not exist", USAGE)
    return name
