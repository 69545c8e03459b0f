"""Certificates that servers refuse from a client: public authorities leave out that usage. Told by `headgate check`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from headgate.config.errors import Path as ConfigPath
from headgate.config.errors import Problem
from headgate.config.model import GatewayConfig
from headgate.gateway import Gateway

from .expiring import BLOCK, texts

_USAGES = bytes.fromhex("0603551d25")
"""The extension that lists what a certificate is for (RFC 5280 section 4.2.1.12), as DER."""
_CLIENT, _ANY = bytes.fromhex("06082b06010505070302"), bytes.fromhex("0604551d2500")


def unfit_for_clients(gateway: Gateway, config: GatewayConfig) -> Iterator[Problem]:
    """One for each upstream whose client certificate is not for clients."""
    for name, upstream in config.upstreams.items():
        if upstream.tls is None or upstream.tls.certificate is None:
            continue
        path: ConfigPath = ("upstreams", name, "tls", "certificate")
        for shown, text in texts(gateway._parts.folder, upstream.tls.certificate.certificate):
            found = BLOCK.search(text)
            if found and not is_for_clients(found[1]):
                yield Problem(
                    f"the certificate in {shown} is not for clients, and servers will refuse it",
                    "public authorities issue none for clients any more: use one of an authority of your own",
                    gateway._parts.locate(path),
                )


def is_for_clients(base64_text: str) -> bool:
    """Whether a certificate may identify a client; one that lists no usages may, as may what is no certificate."""
    try:
        data = base64.b64decode("".join(base64_text.split()), validate=True)
    except (ValueError, binascii.Error):
        return True
    _, is_there, usages = data.partition(_USAGES)
    # the extension's value comes next: a list of a few usages
    return not is_there or _CLIENT in usages[:128] or _ANY in usages[:128]
