"""An ACME authority and this gateway's account there. Blocking: called from a thread."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from acme import client as acme_client
from acme import errors as acme_errors
from acme import messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import DeserializationError
from josepy.jwa import ES256
from josepy.jwk import JWKEC
from requests.exceptions import RequestException

from headgate.config.acme import AcmeAuthorityConfig

from .storage import Storage

USER_AGENT = "headgate"


class AuthorityError(Exception):
    """An authority refused or could not be reached; `wait` is how long it asks to wait, if it does."""

    def __init__(self, message: str, wait: timedelta | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Authority:
    """One authority; connects when it is first used."""

    def __init__(self, config: AcmeAuthorityConfig, email: str | None, storage: Storage) -> None:
        self.config = config
        self._email = email
        self._storage = storage
        self._client: acme_client.ClientV2 | None = None

    def client(self) -> acme_client.ClientV2:
        """A client with an account, which is made on first use and kept before anything is ordered."""
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _connect(self) -> acme_client.ClientV2:
        kept = self._storage.account(self.config.directory)
        key = _load_key(kept["key"]) if kept else ec.generate_private_key(ec.SECP256R1())
        network = acme_client.ClientNetwork(
            JWKEC(key=key),
            alg=ES256,
            user_agent=USER_AGENT,
            verify_ssl=cast(Any, self.config.ca or True),
        )
        directory = acme_client.ClientV2.get_directory(self.config.directory, network)
        client = acme_client.ClientV2(directory, net=network)
        if kept and kept["uri"]:
            network.account = messages.RegistrationResource(uri=kept["uri"], body=messages.Registration())
            return client
        # the key is kept first: an account whose key is lost counts against the authority's limits all the same
        self._storage.put_account(self.config.directory, {"key": _key_text(key), "uri": ""})
        try:
            uri = client.new_account(self._registration(client, key)).uri
        except acme_errors.ConflictError as error:
            uri = error.location
        self._storage.put_account(self.config.directory, {"key": _key_text(key), "uri": uri})
        return client

    def _registration(self, client: acme_client.ClientV2, key: Any) -> messages.NewRegistration:
        contact = (f"mailto:{self._email}",) if self._email else ()
        binding = None
        if eab := self.config.eab:
            binding = messages.ExternalAccountBinding.from_data(
                account_public_key=JWKEC(key=key).public_key(),
                kid=eab.key_id,
                hmac_key=eab.key.get_secret_value(),
                directory=client.directory,
            )
        return messages.NewRegistration(
            contact=contact, terms_of_service_agreed=True, external_account_binding=binding
        )

    def renewal_time(self, chain: bytes) -> tuple[datetime | None, datetime]:
        """When the authority wants the certificate renewed (RFC 9773), if it says so, and when to ask again; UTC."""
        try:
            when, again = self.client().renewal_time(chain)
        except (acme_errors.Error, RequestException, ValueError, OSError) as error:
            raise explained(error) from error
        return (when.astimezone(UTC) if when else None), again.astimezone(UTC)


def explained(error: BaseException) -> AuthorityError:
    """An error of the protocol or the connection in words, with what to do where that is known."""
    if isinstance(error, AuthorityError):
        return error
    if isinstance(error, messages.Error):
        wait = timedelta(hours=1) if error.code == "rateLimited" else None
        hint = _HINTS.get(error.code or "", "")
        return AuthorityError(f"{error.code or error.typ}: {error.detail}{hint}", wait)
    if isinstance(error, acme_errors.ValidationError):
        told = [
            f"{one.body.identifier.value}: {challenge.chall.typ}: {challenge.error.detail}"
            for one in error.failed_authzrs
            for challenge in one.body.challenges
            if challenge.error is not None
        ]
        hint = "; hint: the authority must reach this gateway by that name on port 80 (http-01) or 443 (tls-alpn-01)"
        return AuthorityError("; ".join(told) + hint)
    if isinstance(error, acme_errors.TimeoutError):
        return AuthorityError("the authority did not finish in time")
    if isinstance(error, json.JSONDecodeError | DeserializationError):
        return AuthorityError("the authority's response is not valid ACME")
    return AuthorityError(f"{type(error).__name__}: {str(error)[:500]}")


_HINTS = {
    "rateLimited": "; hint: the authority's rate limit is reached; `acme.staging` has high ones for tests",
    "externalAccountRequired": "; hint: this authority asks for `acme.eab`",
    "rejectedIdentifier": "; hint: the authority gives no certificates for this name",
    "caa": "; hint: a CAA record in DNS forbids this authority for the name",
    "unsupportedContact": "; hint: check `acme.email`",
    "invalidProfile": "; hint: check `acme.profile`",
}


def _key_text(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _load_key(text: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(text.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuthorityError("the kept account key is not an EC key")
    return key
