"""etcd v3 over its JSON gateway: one call at a time to one member, the next member after a failure.

How it works: every etcd since 3.4 serves its gRPC calls as JSON under `/v3` on the same port. Keys and values are
base64 there, and numbers are texts. Calls are linearizable, so a member without a leader fails instead of telling
old news; a token that is no longer valid is asked for anew, once.
"""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote

from headgate._digits import whole_number
from headgate.stores.base import Timing
from headgate.stores.errors import StoreCorrupt, StoreReadOnly, StoreUnavailable
from headgate.stores.http_client import HttpClient, Reply
from headgate.stores.http_response import HttpFailed

_UNAUTHENTICATED, _DENIED, _INVALID = 16, 7, 3


class EtcdClient:
    """See the module."""

    def __init__(self, parts: SplitResult, timing: Timing) -> None:
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        scheme = "https" if query.get("tls") == "true" or query.keys() & {"ca", "cert", "key"} else "http"
        user, _, hosts = parts.netloc.rpartition("@")
        self.members = [f"{scheme}://{host if ':' in host else host + ':2379'}" for host in hosts.split(",")]
        self._user, self._password = (unquote(one) for one in (*user.split(":", 1), "")[:2])
        self._timing = timing
        self._token = ""
        self._turn = asyncio.Lock()
        self._http = HttpClient(_tls(query) if scheme == "https" else None, timing.response_s)

    async def call(self, path: str, body: Mapping[str, Any] | bytes) -> dict[str, Any]:
        """A call's response; raises `StoreUnavailable`, `StoreReadOnly`, `StoreCorrupt`."""
        data = body if isinstance(body, bytes) else body_of(body)
        async with self._turn:
            try:
                response = await self._post(path, data)
                if _is_token(response) and self._user:
                    self._token = ""
                    response = await self._post(path, data)
            except (HttpFailed, OSError, TimeoutError) as error:
                self.members.append(self.members.pop(0))
                raise StoreUnavailable(
                    str(error) or f"no response in time ({type(error).__name__})"
                ) from None
        return self._checked(response)

    async def _post(self, path: str, body: bytes) -> Reply:
        if self._user and not self._token:
            login = json.dumps({"name": self._user, "password": self._password}).encode()
            found = await self._http.post(self.members[0], "/v3/auth/authenticate", login, {})
            self._token = self._checked(found).get("token", "")
        fields = {"authorization": self._token} if self._token else {}
        return await self._http.post(self.members[0], f"/v3/{path}", body, fields)

    def _checked(self, response: Reply) -> dict[str, Any]:
        try:
            told = json.loads(response.body)
        except ValueError:
            if response.body.startswith(b"CommonName of client"):
                hint = "give it a client certificate without a CommonName: users log in by name and password"
                raise StoreUnavailable(
                    f"etcd: {response.body.decode(errors='replace')}\n  hint: {hint}"
                ) from None
            raise StoreCorrupt(f"`{self.members[0]}` did not say JSON: is it etcd?") from None
        if not isinstance(told, dict):
            raise StoreCorrupt(f"`{self.members[0]}` said JSON, but not as etcd does")
        if response.status == 200:
            return told
        message = str(told.get("message") or told.get("error") or response.status)
        if told.get("code") == _DENIED or "permission denied" in message:
            raise StoreReadOnly(f"etcd: {message}")
        self.members.append(self.members.pop(0))
        raise StoreUnavailable(f"etcd: {message}")

    async def watch(self, key: bytes) -> AsyncIterator[dict[str, Any]]:
        """What is said on a watch of a key, from now on; ends with any failure. The first says that it stands."""
        fields = {"grpc-metadata-hasleader": "true"}
        if self._token:
            fields["authorization"] = self._token
        request = json.dumps({"create_request": {"key": text_of(key)}}).encode()
        said = self._http.lines(self.members[0], "/v3/watch", request, fields)
        try:
            async with contextlib.aclosing(said):
                async for line in said:
                    told = json.loads(line)
                    result = told.get("result") if isinstance(told, dict) else None
                    if not isinstance(result, dict) or result.get("canceled"):
                        raise StoreUnavailable(f"etcd ended the watch: {line[:200].decode(errors='replace')}")
                    yield result
        except (HttpFailed, OSError, TimeoutError, ValueError) as error:
            raise StoreUnavailable(str(error) or type(error).__name__) from None

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()


def _tls(query: Mapping[str, str]) -> ssl.SSLContext:
    """What a URL says of TLS; raises `ValueError` for files that cannot be used."""
    if ("cert" in query) != ("key" in query):
        raise ValueError("etcd's URL has one of `cert` and `key`\n  hint: a client certificate needs both")
    try:
        context = ssl.create_default_context(cafile=query.get("ca"))
        if "cert" in query:
            context.load_cert_chain(query["cert"], query["key"])
    except OSError as error:
        raise ValueError(f"the certificates of etcd's URL cannot be read: {error}") from error
    return context


def _is_token(response: Reply) -> bool:
    """Whether a token has expired, or was revoked since a user changed."""
    if response.status == 200:
        return False
    said = (b"invalid auth token", b"auth store is old", b"auth revision")
    return any(text in response.body for text in said)


def body_of(asked: Mapping[str, Any]) -> bytes:
    """The body of a call."""
    return json.dumps(asked).encode()


def text_of(value: bytes) -> str:
    """Bytes as etcd's JSON has them."""
    return base64.b64encode(value).decode()


def bytes_of(text: str) -> bytes:
    """Bytes again; raises `StoreCorrupt`."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise StoreCorrupt("etcd said bytes that are not base64") from None


def pairs_of(told: Mapping[str, Any]) -> list[tuple[bytes, bytes, int]]:
    """Keys, values and their last revisions in a range's response; raises `StoreCorrupt`."""
    try:
        found = told.get("kvs", [])
        return [
            (bytes_of(kv["key"]), bytes_of(kv.get("value", "")), _number(kv["mod_revision"])) for kv in found
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StoreCorrupt("etcd said a range that is none") from None


def revision_of(told: Mapping[str, Any]) -> int:
    """The revision of a response; raises `StoreCorrupt`."""
    return number_of(told.get("header"), "revision")


def number_of(told: Any, name: str, *, missing: int | None = None) -> int:
    """A number in an object of a response, which leaves out zeros; raises `StoreCorrupt`."""
    try:
        return _number(told[name] if missing is None else told.get(name, missing))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StoreCorrupt(f"etcd's response has no usable `{name}`") from None


def range_of(first: bytes, end: bytes | None = None, **options: Any) -> dict[str, Any]:
    """A range request: a key, or all from `first` to before `end`."""
    return {"key": text_of(first), **({} if end is None else {"range_end": text_of(end)}), **options}


def put_of(key: bytes, value: str, lease: int | None = None) -> dict[str, Any]:
    """A put request."""
    return {"key": text_of(key), "value": text_of(value.encode()), **({"lease": str(lease)} if lease else {})}


def unmoved(key: bytes, revision: int) -> dict[str, Any]:
    """A comparison: the key's last revision is this one (0: there is no such key)."""
    return {"key": text_of(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def unchanged(key: bytes, value: bytes) -> dict[str, Any]:
    """A comparison: the key still holds this value."""
    return {"key": text_of(key), "target": "VALUE", "result": "EQUAL", "value": text_of(value)}


def behind(prefix: bytes) -> bytes:
    """The end of all keys with a prefix that ends with `/`."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def chunks(
    puts: Sequence[tuple[bytes, str]], most_operations: int, most_bytes: int
) -> list[list[tuple[bytes, str]]]:
    """Puts in pieces that etcd takes in one request."""
    made: list[list[tuple[bytes, str]]] = []
    size = most_bytes
    for key, value in puts:
        length = len(key) + len(value)
        if size + length > most_bytes or len(made[-1]) == most_operations:
            made.append([])
            size = 0
        made[-1].append((key, value))
        size += length
    return made


def _number(said: Any) -> int:
    """A number of 64 bits, which the JSON gateway writes as text; raises `ValueError`."""
    text = str(said)
    number = whole_number(text.removeprefix("-"))
    if number is None or isinstance(said, bool | float):
        raise ValueError("not a whole number")
    return -number if text.startswith("-") else number
