"""HTTP to an authority: spoilt nonces are replaced, and what it says of waiting is remembered. Blocking."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from acme import client as acme_client
from acme import messages

from headgate._retry_after import retry_after_s

NONCE_TRIES = 20
"""How often a request is signed anew whose nonce the authority does not take (RFC 8555 section 6.5)."""

LONGEST_WAIT = timedelta(days=8)
"""What an authority may ask for: the longest limits in use count a week."""

_RETRY_AFTER = re.compile(
    r"retry after ([0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2})", re.IGNORECASE
)


class Network(acme_client.ClientNetwork):
    """See the module."""

    wait: timedelta | None = None
    """How long the last refusal (429, 503) asked to wait, if it did."""

    def post(self, *args: Any, **kwargs: Any) -> Any:
        """A signed request; raises what the library raises."""
        for _ in range(NONCE_TRIES - 1):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return self._post_once(*args, **kwargs)

    def _send_request(self, *args: Any, **kwargs: Any) -> Any:
        response = super()._send_request(*args, **kwargs)
        is_refusal = response.status_code in (429, 503)
        self.wait = parsed_wait(response.headers.get("Retry-After", "")) if is_refusal else None
        return response


def parsed_wait(text: str, now: datetime | None = None) -> timedelta | None:
    """What `Retry-After` (seconds or a date, RFC 9110 section 10.2.3) or an error's text asks for; `None` for none.

    Never negative, at most `LONGEST_WAIT`.
    """
    now = now or datetime.now(UTC)
    try:
        if found := _RETRY_AFTER.search(text):
            told_s: float | None = (
                datetime.fromisoformat(found[1]).replace(tzinfo=UTC) - now
            ).total_seconds()
        else:
            told_s = retry_after_s(text, now.timestamp())
    except ValueError:
        return None
    if told_s is None:
        return None
    return timedelta(seconds=min(max(told_s, 0.0), LONGEST_WAIT.total_seconds()))
