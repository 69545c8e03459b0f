"""Connections of checks: to the right place, with the PROXY header and the TLS that requests use."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

from headgate.monitor.target import Destination, Target

PROXY_HEADERS = {
    # "the connection was established on purpose by the proxy without being relayed", section 2.2
    "v1": b"PROXY UNKNOWN\r\n",
    "v2": b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
}
"""What servers are told that expect to be told of a client; see the PROXY protocol, section 2."""


class CheckFailed(Exception):
    """The server is not well; the text says why."""


class Security:
    """TLS to one server, as the upstream's requests use it."""

    def __init__(self, tls: dict[str, Any], host: str, alpn: list[str]) -> None:
        context = ssl.create_default_context()
        if tls["ca"]:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            for file in tls["ca"]:
                context.load_verify_locations(file)
        if not tls["verify"]:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate := tls["certificate"]:
            context.load_cert_chain(certificate["chain"], certificate["key"])
        modern = tls["policy"] == "modern"
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if modern else ssl.TLSVersion.TLSv1_2
        if alpn:
            context.set_alpn_protocols(alpn)
        self.context = context
        self.server_name: str = tls["server_name"] or host
        self._pins = {pin.lower().replace(":", "") for pin in tls["pins"]}

    def check(self, connection: ssl.SSLObject | None) -> None:
        """Raises `CheckFailed` for a certificate that is none of those that are pinned."""
        if not self._pins or connection is None:
            return
        certificate = connection.getpeercert(binary_form=True) or b""
        known = {hashlib.sha256(one).hexdigest() for one in (certificate, public_key(certificate))}
        if not known & self._pins:
            raise CheckFailed("its certificate is none of those that are pinned")


def security(target: Target) -> Security | None:
    """TLS of a target's checks, if they use it. Raises `OSError` or `ValueError` for unusable files."""
    check = target.check
    if not target.is_secure and check["type"] != "tls":
        return None
    none = {"ca": (), "verify": True, "certificate": None, "policy": "", "server_name": None, "pins": ()}
    is_http2 = check["type"] == "grpc" or check["protocol"] == "h2"
    alpn = {"http": "h2" if is_http2 else "http/1.1", "grpc": "h2"}.get(check["type"])
    return Security(check["tls"] or none, target.host, [alpn] if alpn else [])


async def connect(
    make: Any, place: Destination, secured: Security | None, header: bytes
) -> tuple[asyncio.Transport, Any]:
    """A connection with the protocol that `make` gives, the PROXY header sent and TLS spoken."""
    loop = asyncio.get_running_loop()
    tls: dict[str, Any] = {}
    if secured and not header:
        tls = {"ssl": secured.context, "server_hostname": secured.server_name}
    if place.path:
        transport, protocol = await loop.create_unix_connection(make, place.path, **tls)
    else:
        transport, protocol = await loop.create_connection(make, place.host, place.port, **tls)
    kept: Any = transport
    try:
        if header:
            kept.write(header)
            if secured:
                kept = await loop.start_tls(
                    kept, protocol, secured.context, server_hostname=secured.server_name
                )
        if secured:
            secured.check(kept.get_extra_info("ssl_object"))
    except BaseException:
        kept.abort()
        raise
    return kept, protocol


@contextlib.asynccontextmanager
async def connection(target: Target) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The same as a pair of streams; it is cut at the end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 16, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    header = PROXY_HEADERS.get(target.check["proxy_protocol"] or "", b"")
    transport, _ = await connect(lambda: protocol, target.place, security(target), header)
    try:
        yield reader, asyncio.StreamWriter(transport, protocol, reader, loop)
    finally:
        transport.abort()


def public_key(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo in a DER certificate (RFC 5280 section 4.1); empty if there is none."""
    try:
        body = _content(_content(certificate, 0), 0)
        at = 0
        if body[0] == 0xA0:  # the version
            at = _end(body, at)
        for _ in ("serial number", "signature", "issuer", "validity", "subject"):
            at = _end(body, at)
        return body[at : _end(body, at)]
    except IndexError:
        return b""


def _content(data: bytes, at: int) -> bytes:
    start, end = _bounds(data, at)
    return data[start:end]


def _end(data: bytes, at: int) -> int:
    return _bounds(data, at)[1]


def _bounds(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of the DER value at `at` begins and ends."""
    length = data[at + 1]
    if length < 0x80:
        return at + 2, at + 2 + length
    size = length & 0x7F
    start = at + 2 + size
    return start, start + int.from_bytes(data[at + 2 : start], "big")
