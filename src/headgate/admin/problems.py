"""Errors as clients get them: `application/problem+json` (RFC 9457), with the command line's words and hints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from headgate.config.errors import ConfigError, Problem, dotted

TYPE = "application/problem+json"
RENAMED = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""Names of RFC 9110, section 15.5, that some versions of Python do not have."""


class Refusal(Exception):
    """A request that is not carried out."""

    def __init__(
        self, status: int, detail: str, hint: str | None = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.hint = status, detail, hint
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """What the client gets."""
        return problem(self.status, self.detail, self.hint, headers=self.headers)


def problem(
    status: int,
    detail: str,
    hint: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """A problem document."""
    title = RENAMED.get(status) or HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if hint:
        document["hint"] = hint
    return Response(
        json.dumps({**document, **more}, indent=2) + "\n", status, dict(headers or {}), media_type=TYPE
    )


def of_configuration(error: ConfigError) -> Response:
    """What is wrong with documents: 422, each problem with its resource and key."""
    return problem(
        422, error.message, error.hint, errors=[described(one) for one in error.problems[:MOST_PROBLEMS]]
    )


MOST_PROBLEMS = 100
"""Of one response."""


def described(one: Problem) -> dict[str, Any]:
    """A problem as clients get it, with the resource or the place that it is in."""
    said: dict[str, Any] = {"message": one.message}
    if one.hint:
        said["hint"] = one.hint
    if one.where:
        said["resource" if one.where.line is None and "/" in one.where.file else "place"] = str(one.where)
    if one.path:
        said["path"] = dotted(one.path)
    return said


def of_text(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error whose text may have a second line with a hint."""
    detail, _, hint = text.partition("\n  hint: ")
    return problem(status, detail, hint or None, headers=headers)
