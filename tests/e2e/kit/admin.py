"""A client of a gateway's Admin API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .client import RawClient, RawResponse, format_request

TOKEN = "a-token-for-the-tests-of-the-admin-api"


class Admin:
    """Talks JSON to the Admin API at an address, each request on a connection of its own."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address, self.token = address, token

    def ask(
        self, method: str, target: str, body: Any = None, fields: Mapping[str, str] | None = None
    ) -> RawResponse:
        """One request, with `body` as JSON unless it is bytes."""
        given = {"Host": "localhost", "Connection": "close", **(fields or {})}
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if body is not None:
            given.setdefault("Content-Type", "application/json")
        if self.token:
            given.setdefault("Authorization", f"Bearer {self.token}")
        with RawClient(self.address, timeout=60) as client:
            host = given.pop("Host")
            sized = data if method in ("PUT", "POST", "PATCH") or data else None
            client.send(format_request(method, target, list(given.items()), sized, host=host))
            return client.response(method)

    def get(self, target: str, **fields: str) -> RawResponse:
        """A GET."""
        return self.ask("GET", target, None, fields)

    def put(self, target: str, body: Any, **fields: str) -> RawResponse:
        """A PUT."""
        return self.ask("PUT", target, body, fields)

    def delete(self, target: str, **fields: str) -> RawResponse:
        """A DELETE."""
        return self.ask("DELETE", target, None, fields)
