"""Batches over HTTP: an array of JSON objects, or what Loki's push API takes."""

from __future__ import annotations

import json
import ssl
import time
from datetime import datetime
from typing import Any

from headgate._retry_after import retry_after_s
from headgate.shipping.line import time_of
from headgate.shipping.senders import Refused, TooLarge, Unavailable
from headgate.shipping.target import Target
from headgate.stores.http_client import HttpClient
from headgate.stores.http_response import HttpFailed

LONGEST_WAIT_S = 60.0
"""That a target may ask for with Retry-After."""
LONGEST_SHOWN = 200
_RETRIED = (408, 425, 429)


class HttpSender:
    """POSTs to one URL on a kept connection. Responses with 408, 425, 429 and 5xx are tried again."""

    def __init__(self, target: Target) -> None:
        context = ssl.create_default_context(cafile=target.ca) if target.transport == "https" else None
        host = f"[{target.host}]" if ":" in target.host else target.host
        self._base, self._path = f"{target.transport}://{host}:{target.port}", target.path
        self._client = HttpClient(context, target.timeout)
        self._fields = {"user-agent": "headgate", **dict(target.headers)}
        self._labels = dict(target.labels) if target.kind == "loki" else None

    async def send(self, lines: list[bytes]) -> int:
        """See `Sender`."""
        body = json_array(lines) if self._labels is None else loki_push(lines, self._labels)
        try:
            reply = await self._client.post(self._base, self._path, body, self._fields)
        except HttpFailed as error:
            raise Unavailable(str(error)) from None
        if 200 <= reply.status < 300:
            return len(lines)
        said = reply.body[:LONGEST_SHOWN].decode(errors="replace").strip()
        reason = f"status {reply.status}{': ' + said if said else ''}"
        if reply.status == 413:
            raise TooLarge(reason)
        if reply.status >= 500 or reply.status in _RETRIED:
            raise Unavailable(reason, pause_s(reply.fields.get("retry-after", ""), time.time()))
        raise Refused(reason)

    def close(self) -> None:
        """See `Sender`."""
        self._client.close()


def json_array(lines: list[bytes]) -> bytes:
    """Objects as one array."""
    return b"[" + b",".join(lines) + b"]"


def loki_push(lines: list[bytes], labels: dict[str, str]) -> bytes:
    """One stream for `/loki/api/v1/push`; times in nanoseconds since 1970."""
    values: list[Any] = [[_nanoseconds(line), line.decode(errors="replace")] for line in lines]
    whole = {"streams": [{"stream": labels, "values": values}]}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


def _nanoseconds(line: bytes) -> str:
    milliseconds = round(datetime.fromisoformat(time_of(line).decode()).timestamp() * 1000)
    return f"{milliseconds}000000"


def pause_s(text: str, now_s: float) -> float:
    """What `Retry-After` asks for: seconds or a date (RFC 9110 section 10.2.3); 0 for what is neither."""
    return min(retry_after_s(text, now_s) or 0.0, LONGEST_WAIT_S)
