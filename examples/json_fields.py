"""A body transformation: clients get only the fields of a JSON answer that they may see."""

import json
from typing import Any

from headgate import Gateway, Request, ResponseView

HIDDEN = {"password", "internal_id", "cost"}

gate = Gateway()
gate.listen("127.0.0.1:8080")
api = gate.route("/api/*", to="127.0.0.1:9000")


@api.response_body(mode="buffer", limit="4m", decode=True)
def hide_fields(request: Request, response: ResponseView, chunk: bytes, last: bool) -> bytes | None:
    """The whole body in one call; an answer that is no JSON stays as it is."""
    if "json" not in response.headers.get("content-type", ""):
        return None
    return json.dumps(visible(json.loads(chunk)), separators=(",", ":")).encode()


def visible(value: Any) -> Any:
    """The value without hidden fields, however deep they lie."""
    if isinstance(value, dict):
        return {name: visible(inner) for name, inner in value.items() if name not in HIDDEN}
    if isinstance(value, list):
        return [visible(inner) for inner in value]
    return value
