"""Proving control of a name: HTTP-01 and DNS-01 (RFC 8555 sections 8.3 and 8.4), TLS-ALPN-01 (RFC 8737)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from acme import challenges, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwk import JWK

from headgate.config.acme import Challenge

from .dns import DnsRecords
from .storage import Storage

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
"""The extension that holds the digest of the key authorization (RFC 8737 section 6.1)."""


@challenges.ChallengeResponse.register
class TlsAlpn01Response(challenges.KeyAuthorizationChallengeResponse):
    """Tells the authority that the certificate can be seen."""

    typ = "tls-alpn-01"


@challenges.Challenge.register
class TlsAlpn01(challenges.KeyAuthorizationChallenge):
    """A challenge for a validation by a TLS handshake."""

    response_cls = TlsAlpn01Response
    typ = "tls-alpn-01"

    def validation(self, account_key: JWK, **_: Any) -> str:
        """The key authorization."""
        return self.key_authorization(account_key)


class NoChallenge(Exception):
    """The authority offers none of the challenges that are configured."""


Undo = Callable[[], None]
"""Takes away what proves control of a name."""


def prepare(
    authorization: messages.AuthorizationResource,
    wanted: tuple[Challenge, ...],
    key: JWK,
    storage: Storage,
    records: DnsRecords | None,
) -> tuple[messages.ChallengeBody, Any, Undo]:
    """Puts in place what proves control of the authorization's name; gives the challenge, the response to send, and how
    to take it away. Raises `NoChallenge`.
    """
    name = authorization.body.identifier.value
    offered = {one.chall.typ: one for one in authorization.body.challenges}
    for kind in wanted:
        if kind in offered and not (authorization.body.wildcard and kind != "dns-01"):
            body = offered[kind]
            return body, body.chall.response(key), _show(body.chall, kind, name, key, storage, records)
    raise NoChallenge(
        f"{name}: the authority offers {', '.join(offered)}; configured: {', '.join(wanted)};"
        " hint: see `acme.challenges`"
    )


def _show(
    challenge: Any, kind: Challenge, name: str, key: JWK, storage: Storage, records: DnsRecords | None
) -> Undo:
    authorization = challenge.key_authorization(key)
    if kind == "http-01":
        token = challenge.encode("token")
        storage.put_http_challenge(token, authorization.encode())
        return lambda: storage.drop_challenge("http", token)
    if kind == "tls-alpn-01":
        storage.put_alpn_challenge(name, validation_certificate(name, authorization))
        return lambda: storage.drop_challenge("alpn", name)
    if records is None:
        raise NoChallenge(f"{name}: `dns-01` without `acme.dns`")
    value = challenge.validation(key)
    at = f"_acme-challenge.{name}"
    records.add(at, value)
    return lambda: records.remove(at, value)


def validation_certificate(name: str, authorization: str) -> bytes:
    """The self-signed certificate that a TLS-ALPN-01 validation wants to see, with its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "acme-tls-alpn-01")])
    digest = hashlib.sha256(authorization.encode()).digest()
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        # a DER octet string of 32 bytes
        .add_extension(x509.UnrecognizedExtension(ACME_IDENTIFIER, b"\x04\x20" + digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
