"""Asks an external authorization service of Envoy's protocol (ext_authz), over gRPC or HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode

from pydantic import BaseModel, ConfigDict, Field

from headgate import ConfigError, Plugin, PluginContext, Request, Response, ResponseView

from ._bodies import BadBody, decoded
from ._envoy import (
    APPEND,
    NOT_SAID,
    OVERWRITE,
    Invalid,
    SaidNames,
    check_request,
    reply_fields,
    set_fields,
    wanted,
)
from ._fields import ReadName
from ._grpc import GrpcService, GrpcUrl
from ._services import CREDENTIALS, Decision, Service, ServiceUrl, WhenAway, told_fields

CHECK = "/envoy.service.auth.v3.Authorization/Check"


class ExtAuthz(Plugin):
    """Lets a request in if a service that speaks Envoy's ext_authz (version 3) says so, over gRPC or HTTP.

    Over gRPC it gets a CheckRequest: `source` (address, port, principal), `http` (with the body if `max_body_bytes`
    is set), `context_extensions` and the server name. Over HTTP, where only 200 lets in, it gets method, target
    behind the URL, and fields. What it sets of `copy` replaces the client's own fields, also if it sets nothing, and
    no client can send those, on any route (of `authorization` and `cookie`: on routes with the plugin). It may take
    other fields out, and change the query. Every other result refuses, with its status, fields and body. Dynamic
    metadata is ignored. For gRPC: `pip install 'headgate[grpc]'`.
    """

    order = 6

    class Config(BaseModel):
        """Settings of `ext-authz`."""

        model_config = ConfigDict(extra="forbid")

        grpc: GrpcUrl | None = Field(
            default=None, description="The service over gRPC: `grpc://10.0.0.9:9001`, or `grpcs`."
        )
        http: ServiceUrl | None = Field(
            default=None, description="The service over HTTP: `http://10.0.0.9:9000/auth`."
        )
        headers: list[ReadName] | None = Field(
            default=None,
            description="The client's fields that it gets; null is all but those of its connection.",
        )
        max_body_bytes: int = Field(
            default=0,
            ge=0,
            description="The most bytes of a body that it sees, a longer one is a 413; 0: none (gRPC).",
        )
        context_extensions: dict[str, str] = Field(
            default={}, description="What it is told of the route (gRPC)."
        )
        copy_: SaidNames = Field(
            default=[], alias="copy", description="Fields that it may set for the server: `x-user`."
        )
        timeout: float = Field(
            default=1, gt=0, description="The longest that it may take in all, in seconds."
        )
        when_away: WhenAway = Field(
            default="closed", description="Without the service: `closed` is a 503, `open` lets everybody in."
        )

    def setup(self, context: PluginContext) -> None:
        """Takes the fields that only the service may say out of what clients send."""
        config = self.config
        if (config.grpc is None) == (config.http is None):
            raise ConfigError("the service has to be `grpc` or `http`", hint="write one of them")
        context.remove_from_clients(*(set(config.copy_) - CREDENTIALS))
        self._denied = context.counter("denied")
        self._key = f"{context.name} to client"
        if config.grpc is not None:
            self._grpc = GrpcService(context, config.grpc, timeout=config.timeout, max_bytes=262_144)
        else:
            self._http = Service(context, config.http, timeout=config.timeout, max_body_bytes=262_144)

    async def request(self, request: Request) -> Response | None:
        """Asks."""
        if self.config.http is not None:
            return await self._ask_http(request)
        from envoy.service.auth.v3.external_auth_pb2 import CheckResponse

        try:
            body = await decoded(request, self.config.max_body_bytes) if self.config.max_body_bytes else None
        except BadBody as error:
            return Response(error.status, f"{error}\n")
        config = self.config
        told = check_request(request, body, config.headers, config.context_extensions)
        found = await self._grpc.ask(CHECK, told, CheckResponse)
        if found is None or found.HasField("error_response"):
            return self._away(request)
        try:
            if found.status.code:
                return self._refusal(found)
            self._let_in(request, found.ok_response)
            return None
        except Invalid as error:
            self._grpc.away.begin(f"its result is not valid: {error}")
            return self._away(request, closed=True)

    def response(self, request: Request, response: ResponseView) -> None:
        """Tells the client what the service says to it."""
        set_fields(response.headers, getattr(request.state, self._key, ()), None)

    async def close(self) -> None:
        """Closes the connection to the service."""
        if self.config.grpc is not None:
            await self._grpc.close()

    def _let_in(self, request: Request, said: Any) -> None:
        fields = list(wanted(said.headers, default=OVERWRITE))
        to_client = list(wanted(said.response_headers_to_add, default=APPEND))
        removed = [
            name for name in said.headers_to_remove if name.lower() not in NOT_SAID and name[:1] != ":"
        ]
        for name in (*self.config.copy_, *removed):
            request.headers.pop(name, None)
        set_fields(request.headers, fields, self.config.copy_)
        if said.query_parameters_to_set or said.query_parameters_to_remove:
            given = {one.key: one.value for one in said.query_parameters_to_set}
            gone = {*given, *said.query_parameters_to_remove}
            kept = [pair for pair in parse_qsl(request.query, keep_blank_values=True) if pair[0] not in gone]
            query = urlencode([*kept, *given.items()])
            request.target = f"{request.path}?{query}" if query else request.path
        if to_client:
            vars(request.state)[self._key] = to_client

    def _refusal(self, found: Any) -> Response:
        self._denied.add()
        said = found.denied_response
        fields = reply_fields(wanted(said.headers, default=APPEND))
        status = said.status.code or 403
        if not 200 <= status <= 599:
            raise Invalid(f"the status {status}")
        return Response(status, said.body or None, headers=fields)

    async def _ask_http(self, request: Request) -> Response | None:
        decision = await self._http.ask(
            target=request.target,
            method=request.method,
            headers=[*told_fields(request, self.config.headers), ("host", request.host)],
        )
        if decision is None:
            return self._away(request)
        for name in self.config.copy_:
            request.headers.pop(name, None)
        if decision.status != 200:
            return self._http_refusal(decision)
        for name in self.config.copy_:
            for value in decision.headers.get_all(name):
                request.headers.add(name, value)
        return None

    def _http_refusal(self, decision: Decision) -> Response:
        self._denied.add()
        fields = [pair for pair in decision.headers.items() if pair[0].lower() not in NOT_SAID]
        return Response(decision.status, decision.body or None, headers=fields)

    def _away(self, request: Request, *, closed: bool = False) -> Response | None:
        if closed or self.config.when_away == "closed":
            return Response(503, "try again later\n", headers=[("retry-after", "1")])
        for name in self.config.copy_:
            request.headers.pop(name, None)
        return None
