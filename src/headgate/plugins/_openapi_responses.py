"""What an OpenAPI document says of responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ._openapi import Parameter, Schema


class Outcome(NamedTuple):
    """A response that an operation may have."""

    headers: list[Parameter]
    bodies: dict[str, Schema | None]
    """Schemas by media type; none where any body of the type will do."""


def outcome_of(outcomes: dict[str, Outcome], status: int) -> Outcome | None:
    """What the document says of a status: by number, by its class (`2XX`), or by `default`."""
    for name in (str(status), f"{status // 100}XX", "default"):
        if name in outcomes:
            return outcomes[name]
    return None


def outcomes(
    said: dict[str, Any],
    pointer: str,
    followed: Callable[[Any, str], tuple[Any, str]],
    schema_at: Callable[[str], Schema],
    escaped: Callable[[str], str],
) -> dict[str, Outcome]:
    """The responses of an operation that stands at a JSON pointer, by status."""
    made: dict[str, Outcome] = {}
    for status, one in said.get("responses", {}).items():
        response, place = followed(one, f"{pointer}/responses/{status}")
        headers = []
        for name, header in response.get("headers", {}).items():
            header, at = followed(header, f"{place}/headers/{escaped(name)}")
            schema = schema_at(f"{at}/schema") if "schema" in header else None
            shape = followed(header.get("schema", {}), "")[0]
            headers.append(Parameter({**header, "name": name.lower(), "in": "header"}, schema, shape))
        bodies = {
            name.lower(): schema_at(f"{place}/content/{escaped(name)}/schema")
            if "schema" in content
            else None
            for name, content in response.get("content", {}).items()
        }
        made[status.upper() if status != "default" else status] = Outcome(headers, bodies)
    return made
