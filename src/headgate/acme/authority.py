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

from headgate.config.acme import AcmeAuthorityConfig

from .network import Network, parsed_wait
from .storage import Storage, StorageError

USER_AGENT = "headgate"


LEFT_ALONE = timedelta(hours=1)
"""How long nothing else is asked of an authority whose rate limit is reached, and what is waited if it says nothing."""


class AuthorityError(Exception):
    """An authority refused or could not be reached; `wait` is how long it asks to wait, if it does."""

    def __init__(self, message: str, wait: timedelta | None = None, *, is_rate_limit: bool = False) -> None:
        super().__init__(message)
        self.wait = wait
        self.is_rate_limit = is_rate_limit


class Authority:
    """One authority; connects when it is first used."""

    def __init__(self, config: AcmeAuthorityConfig, email: str | None, storage: Storage) -> None:
        self.config = config
        self._email = email
        self._storage = storage
        self._client: acme_client.ClientV2 | None = None
        self._network: Network | None = None

    @property
    def wait(self) -> timedelta | None:
        """How long the authority's last response asked to wait, if it was a refusal that did."""
        return self._network.wait if self._network else None

    def forget_account(self) -> None:
        """The authority knows the account no more: another is made with the same key, on next use."""
        self._client = None
        if kept := self._storage.account(self.config.directory):
            self._storage.put_account(self.config.directory, {**kept, "uri": ""})

    def client(self) -> acme_client.ClientV2:
        """A client with an account, which is made on first use and kept before anything is ordered."""
        if self._client is None:
            with self._storage.account_lock:
                self._client = self._connect()
        return self._client

    def _connect(self) -> acme_client.ClientV2:
        kept = self._storage.account(self.config.directory)
        key = _load_key(kept["key"]) if kept else ec.generate_private_key(ec.SECP256R1())
        network = Network(
            JWKEC(key=key),
            alg=ES256,
            user_agent=USER_AGENT,
            verify_ssl=cast(Any, self.config.ca or True),
        )
        self._network = network
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
        network.account = messages.RegistrationResource(uri=uri, body=messages.Registration())
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
        except StorageError:
            raise
        except Exception as error:  # whatever the library raises on what the authority sent
            raise explained(error, self.wait) from error
        return (when.astimezone(UTC) if when else None), again.astimezone(UTC)


def explained(error: BaseException, told: timedelta | None = None) -> AuthorityError:
    """An error of the protocol or the connection in words, with what to do where that is known; `told` is how long the
    authority asked to wait.
    """
    if isinstance(error, AuthorityError):
        return error
    if isinstance(error, messages.Error):
        text = f"{error.code or error.typ}: {error.detail}{_HINTS.get(error.code or '', '')}"
        if error.code != "rateLimited":
            return AuthorityError(text, told)
        wait = max(told or LEFT_ALONE, parsed_wait(error.detail or "") or timedelta(0))
        hours = round(wait / timedelta(hours=1), 1)
        return AuthorityError(
            f"{text}; nothing is ordered for this name before {hours:g} h have passed",
            wait,
            is_rate_limit=True,
        )
    if isinstance(error, acme_errors.IssuanceError):
        return AuthorityError(f"the order was rejected: {explained(error.error)}", told)
    if isinstance(error, acme_errors.ValidationError):
        reasons = [
            f"{one.body.identifier.value}: {challenge.chall.typ}: {challenge.error.detail}"
            for one in error.failed_authzrs
            for challenge in one.body.challenges
            if challenge.error is not None
        ]
        hint = "; hint: the authority must reach this gateway by that name on port 80 (http-01) or 443 (tls-alpn-01)"
        return AuthorityError("; ".join(reasons) + hint)
    if isinstance(error, acme_errors.TimeoutError):
        return AuthorityError("the authority did not finish in time")
    if isinstance(error, json.JSONDecodeError | DeserializationError):
        return AuthorityError("the authority's response is not valid ACME", told)
    return AuthorityError(f"{type(error).__name__}: {str(error)[:500]}", told)


_HINTS = {
    "rateLimited": (
        "; hint: the authority's rate limit is reached: keep `acme.folder` over restarts, and test with `acme.staging`"
    ),
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
