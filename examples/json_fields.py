"""A body transformation: clients get only the fields of a JSON response that they may see."""

import json
from typing import Any

from headgate import Gateway, Request, Response, ResponseView

HIDDEN = {"password", "internal_id", "cost"}

gate = Gateway()
gate.listen("127.0.0.1:8080")
api = gate.route("/api/*", to="127.0.0.1:9000")


@api.response_body(mode="buffer", limit="4m", decode=True)
def hide_fields(
    request: Request, response: ResponseView, chunk: bytes, last: bool
) -> bytes | Response | None:
    """The whole body in one call; what is not called JSON stays as it is, what is and cannot be read is held back."""
    if "json" not in response.headers.get("content-type", "").lower() or not chunk:
        return None
    try:
        return json.dumps(visible(json.loads(chunk)), separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return Response(502, "the server's JSON cannot be read\n")


def visible(value: Any) -> Any:
    """The value without hidden fields, however deep they lie."""
    if isinstance(value, dict):
        return {name: visible(inner) for name, inner in value.items() if name not in HIDDEN}
    if isinstance(value, list):
        return [visible(inner) for inner in value]
    return value
