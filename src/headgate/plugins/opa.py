"""Asks Open Policy Agent whether a request may come in: its REST API for data (POST /v1/data/PATH)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StrictBool, ValidationError, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response

from ._bodies import BadBody, decoded, media_type, parsed_json
from ._fields import CONTROL, FRAMING, NAME
from ._numbers import to_json
from ._services import CREDENTIALS, Service, ServiceUrl, Trouble, WhenAway

POLICY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:/[A-Za-z_][A-Za-z0-9_]*)*")
NOT_SAID = FRAMING | {"host"}


class Verdict(BaseModel):
    """What a policy says if it says more than a boolean; other members are ignored."""

    allow: StrictBool
    status: int = Field(default=403, ge=300, le=599)
    headers: dict[str, str | list[str]] = {}
    body: Any = None

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        for name, value in headers.items():
            values = value if isinstance(value, list) else [value]
            if not NAME.fullmatch(name) or name.lower() in NOT_SAID or any(map(CONTROL.search, values)):
                raise ValueError(f"the header field `{name[:100]}`")
        return headers

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The header fields, one by one."""
        pairs = [
            (name, value if isinstance(value, list) else [value]) for name, value in self.headers.items()
        ]
        return [(name, one) for name, values in pairs for one in values]


class Opa(Plugin):
    """Lets a request in if a policy of Open Policy Agent says `true`, or an object with `allow: true`.

    The policy sees `input.request` (`method`, `scheme`, `host`, `path`: the decoded segments as a list, `raw_path`,
    `query`: lists by name, `headers`: those of `headers`, `body`, `id`), `input.client.address`, `input.route` and
    `input.consumer` (`name`, `groups`, `labels`, or null). An object may have `status`, `headers` and `body` of the
    refusal; with `allow: true` its `headers` that are in `copy` go to the server, and clients cannot send those.
    Undefined is a refusal. A result of another form is a 503, and so is an agent that is away, by default.
    """

    order = 150

    class Config(BaseModel):
        """Settings of `opa`."""

        model_config = ConfigDict(extra="forbid")

        url: ServiceUrl = Field(default="http://127.0.0.1:8181", description="The agent, without `/v1/data`.")
        policy: str = Field(description="The document that decides, with slashes: `httpapi/authz/allow`.")
        token: SecretStr | None = Field(default=None, description="A bearer token for the agent.")
        headers: list[str] = Field(default=[], description="The client's fields that the policy sees.")
        body: bool = Field(
            default=False, description="Whether the policy sees JSON bodies; what is not valid JSON is a 400."
        )
        max_body_bytes: int = Field(
            default=65536, ge=1, description="The most bytes of a body that is seen; a longer one is a 413."
        )
        copy_: list[str] = Field(
            default=[], alias="copy", description="Fields that a policy may set for the server: `x-role`."
        )
        timeout: float = Field(
            default=1, gt=0, description="The longest that it may take in all, in seconds."
        )
        when_away: WhenAway = Field(
            default="closed", description="Without the agent: `closed` is a 503, `open` lets everybody in."
        )

        @field_validator("policy")
        @classmethod
        def _policy(cls, policy: str) -> str:
            if not POLICY.fullmatch(policy):
                raise ConfigError(
                    f"`{policy}` is not a valid path of a policy", hint="write `httpapi/authz/allow`"
                )
            return policy

        @field_validator("headers", "copy_")
        @classmethod
        def _names(cls, names: list[str]) -> list[str]:
            for name in names:
                if not NAME.fullmatch(name) or name.lower() in NOT_SAID:
                    raise ConfigError(f"`{name}` cannot be passed on", hint="name a field such as `x-role`")
            return [name.lower() for name in names]

    def setup(self, context: PluginContext) -> None:
        """Takes the fields that only the policy may say out of what clients send."""
        config = self.config
        context.remove_from_clients(*(set(config.copy_) - CREDENTIALS))
        self._consumers = context.consumers
        self._service = Service(
            context,
            f"{config.url.rstrip('/')}/v1/data/{config.policy}",
            timeout=config.timeout,
            max_body_bytes=65536,
        )
        self._fields = [("content-type", "application/json")]
        if config.token is not None:
            self._fields.append(("authorization", f"Bearer {config.token.get_secret_value()}"))
        self._denied = context.counter("denied")
        self._invalid = Trouble(context, "invalid_results", "the result of the policy is not valid")

    async def request(self, request: Request) -> Response | None:
        """Asks."""
        try:
            body = await self._body(request)
        except BadBody as error:
            return Response(error.status, f"{error}\n")
        asked = to_json({"input": self._input(request, body)}).encode("utf-8", "replace")
        decision = await self._service.ask(method="POST", headers=self._fields, body=asked)
        if decision is None:
            return _later() if self.config.when_away == "closed" else None
        try:
            verdict = _verdict(decision.status, decision.body)
        except ValueError as error:
            self._invalid.begin(_first_line(error))
            return _later()
        self._invalid.end()
        if not verdict.allow:
            self._denied.add()
            return _refusal(verdict)
        for name in self.config.copy_:
            request.headers.pop(name, None)
        for name, value in verdict.fields:
            if name.lower() in self.config.copy_:
                request.headers.add(name, value)
        return None

    async def _body(self, request: Request) -> Any:
        if not self.config.body:
            return None
        content = await decoded(request, self.config.max_body_bytes)
        kind = media_type(request) if content else None
        return parsed_json(content, keeps_numbers=True) if kind is not None and kind.is_json else None

    def _input(self, request: Request, body: Any) -> dict[str, Any]:
        query: dict[str, list[str]] = {}
        for parameter, value in request.query_params.multi_items():
            query.setdefault(parameter, []).append(value)
        name = getattr(request.state, "consumer", None)
        known = self._consumers.named(name) if name else None
        headers = request.headers
        return {
            "request": {
                "method": request.method,
                "scheme": request.scheme,
                "host": request.host,
                "path": [unquote(segment) for segment in request.path.split("/")[1:]],
                "raw_path": request.path,
                "query": query,
                "headers": {
                    one: ", ".join(headers.get_all(one)) for one in self.config.headers if one in headers
                },
                "body": body,
                "id": request.id,
            },
            "client": {"address": request.client.address},
            "route": request.route_name,
            "consumer": {
                "name": name,
                "groups": list(known.groups) if known else [],
                "labels": dict(known.labels) if known else {},
            }
            if name
            else None,
        }


def _verdict(status: int, body: bytes | None) -> Verdict:
    """What the agent said; raises `ValueError` where that is not a result. Undefined is none: it refuses."""
    if status != 200 or body is None:
        raise ValueError(f"the status is {status}" if body is not None else "it is too large")
    document = parsed_json(body)
    if not isinstance(document, dict):
        raise ValueError("it is not an object")
    result = document.get("result", False)
    if isinstance(result, bool):
        return Verdict(allow=result)
    return Verdict.model_validate(result)


def _refusal(verdict: Verdict) -> Response:
    if isinstance(verdict.body, dict | list | bool):
        reply = Response.json(verdict.body, verdict.status)
    else:
        reply = Response(verdict.status, None if verdict.body is None else str(verdict.body))
    for name, value in verdict.fields:
        if name.lower() == "content-type":
            reply.headers[name] = value
        else:
            reply.headers.add(name, value)
    return reply


def _later() -> Response:
    return Response(503, "try again later\n", headers=[("retry-after", "1")])


def _first_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:300]
    return str(error)[:300]
