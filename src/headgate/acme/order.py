"""One order, from the names to the certificate (RFC 8555 section 7.4). Blocking: called from a thread."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta

from acme import crypto_util, messages
from acme.client import ClientV2
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy.jwk import JWK

from headgate.config.acme import Challenge, KeyType

from .authority import Authority, AuthorityError, explained
from .challenges import Undo, prepare
from .dns import DnsRecords
from .storage import Storage, StorageError

LONGEST = timedelta(minutes=5)
"""The longest that an order may take at the authority."""


def new_key(kind: KeyType) -> bytes:
    """A private key as PEM (PKCS #8)."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    key = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == "ecdsa"
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def order(
    authority: Authority,
    name: str,
    key: bytes,
    challenges: tuple[Challenge, ...],
    storage: Storage,
    records: DnsRecords | None,
) -> bytes:
    """The certificate chain for a name, as PEM; raises `AuthorityError`, and `StorageError` where challenges cannot be
    shown. What proves control of the name is taken away again whatever happens.
    """
    undo: list[Undo] = []
    try:
        client = authority.client()
        # no must-staple: authorities have stopped OCSP, and refuse such requests
        request = crypto_util.make_csr(key, [name])
        placed = client.new_order(request, profile=authority.config.profile)
        _prove(client, placed, challenges, storage, records, undo)
        deadline = datetime.now() + LONGEST
        placed = client.poll_authorizations(placed, deadline)
        done = client.finalize_order(placed, deadline, fetch_alternative_chains=True)
        chain = _preferred(done, authority.config.preferred_chain).encode()
        _check(chain, key)
        return chain
    except (AuthorityError, StorageError):
        raise
    except Exception as error:  # whatever the library raises on what the authority sent
        if isinstance(error, messages.Error) and error.code == "accountDoesNotExist":
            authority.forget_account()
        raise explained(error, authority.wait) from error
    finally:
        for one in reversed(undo):
            with contextlib.suppress(Exception):
                one()


def _prove(
    client: ClientV2,
    placed: messages.OrderResource,
    challenges: tuple[Challenge, ...],
    storage: Storage,
    records: DnsRecords | None,
    undo: list[Undo],
) -> None:
    """Shows what each authorization asks for, then tells the authority to look."""
    ready = []
    for authorization in placed.authorizations:
        if authorization.body.status == messages.STATUS_VALID:
            continue
        body, response, take_away = prepare(authorization, challenges, _account_key(client), storage, records)
        undo.append(take_away)
        ready.append((body, response))
    for body, response in ready:
        client.answer_challenge(body, response)


def _account_key(client: ClientV2) -> JWK:
    key: JWK | None = client.net.key
    assert key is not None, "with which every request is signed"
    return key


def _preferred(done: messages.OrderResource, issuer: str | None) -> str:
    """The chain whose last certificate that issuer has signed; the authority's first where none has."""
    chains: list[str] = [done.fullchain_pem, *(done.alternative_fullchains_pem or ())]
    if issuer is None:
        return chains[0]
    for chain in chains:
        last = x509.load_pem_x509_certificates(chain.encode())[-1]
        names = last.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        if any(one.value == issuer for one in names):
            return chain
    return chains[0]


def _check(chain: bytes, key: bytes) -> None:
    """Refuses a certificate that is not for the key."""
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0].public_key()
        own = serialization.load_pem_private_key(key, None).public_key()
    except ValueError as error:
        raise AuthorityError(f"what the authority sent is not a valid certificate: {error}") from error
    encoding = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if leaf.public_bytes(*encoding) != own.public_bytes(*encoding):
        raise AuthorityError("the authority gave a certificate for another key")
