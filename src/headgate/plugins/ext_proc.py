"""Lets an external service of Envoy's protocol (ext_proc) see and change requests and responses, over gRPC."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response, ResponseView, body_mode

from ._bodies import BadBody, is_told_larger
from ._envoy import Invalid, SaidNames, header_map, mutate
from ._ext_proc import Away, Stream, immediate, new_body
from ._grpc import GrpcService, GrpcUrl
from ._services import CREDENTIALS, WhenAway


class ExtProc(Plugin):
    """Shows requests and responses to a service that speaks Envoy's ext_proc (version 3), and does what it says.

    A stream for each request, with header fields (`:path` and `:method`, `:status`) and, if wanted, whole bodies. The
    service changes and removes fields, `:path`, `:method` and `:status`, replaces bodies that it sees, or replies
    itself (`immediate_response`); it may end a stream when it has seen enough. Fields in `owned` are only its own to
    set: no client can send them, on any route (of `authorization` and `cookie`: on routes with the plugin). Trailers,
    streamed bodies, attributes and changes of the mode are not part of it. As for every plugin with a hook of
    response bodies, `Range` does not reach the server. Needs `pip install 'headgate[grpc]'`.
    """

    order = 160

    class Config(BaseModel):
        """Settings of `ext-proc`."""

        model_config = ConfigDict(extra="forbid")

        grpc: GrpcUrl = Field(description="The service: `grpc://10.0.0.9:9001`, or `grpcs`.")
        request_body: bool = Field(default=False, description="Whether it sees bodies of requests, whole.")
        response: bool = Field(default=True, description="Whether it sees heads of responses.")
        response_body: bool = Field(default=False, description="Whether it sees bodies of responses, whole.")
        max_body_bytes: int = Field(
            default=1_048_576, ge=1, description="The most bytes of a body; a longer one is a 413, or a 502."
        )
        owned: SaidNames = Field(default=[], description="Fields that only the service sets: `x-user`.")
        timeout: float = Field(
            default=1, gt=0, description="The longest that each message may take, in seconds."
        )
        when_away: WhenAway = Field(
            default="closed", description="Without the service: `closed` is a 503, `open` goes on without it."
        )

    def setup(self, context: PluginContext) -> None:
        """Takes the fields that only the service may say out of what clients send."""
        config = self.config
        self._owned = [name.lower() for name in config.owned]
        context.remove_from_clients(*(set(self._owned) - CREDENTIALS))
        self._service = GrpcService(
            context, config.grpc, timeout=config.timeout, max_bytes=2 * config.max_body_bytes + 262_144
        )
        self._key = f"{context.name} stream"
        if not config.response_body:
            self.response_body = self._unseen  # type: ignore[method-assign, assignment]

    async def request(self, request: Request) -> Response | None:
        """Shows the head, and the body if it is wanted."""
        for name in CREDENTIALS & set(self._owned):
            request.headers.pop(name, None)
        stream = vars(request.state)[self._key] = Stream(self._service, self.config.timeout)
        has_body = request.has_body
        try:
            if self.config.request_body and is_told_larger(request.headers, self.config.max_body_bytes):
                raise BadBody("the body is too large", 413)
            said = await stream.ask("request_headers", headers=_head(request), end_of_stream=not has_body)
            reply = self._apply(request, None, said, request.headers)
            if reply is not None or not self.config.request_body or not has_body or stream.is_over:
                return reply
            body = await self._body(request)
            said = await stream.ask("request_body", body=body, end_of_stream=True)
            return self._apply(request, None, said, request.headers)
        except BadBody as error:
            stream.is_over = True
            return Response(error.status, f"{error}\n")
        except Away as error:
            return self._away(stream, error)

    async def response(self, request: Request, response: ResponseView) -> Response | None:
        """Shows the head."""
        stream = getattr(request.state, self._key, None)
        if stream is None or stream.is_over or not self.config.response:
            return None
        told = header_map(response.headers, status=str(response.status))
        try:
            said = await stream.ask("response_headers", headers=told, end_of_stream=request.method == "HEAD")
            return self._apply(request, response, said, response.headers)
        except Away as error:
            return self._away(stream, error)

    @body_mode("buffer")
    async def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> bytes | Response | None:
        """Shows the body."""
        stream = getattr(request.state, self._key, None)
        if stream is None or stream.is_over:
            return None
        if len(chunk) > self.config.max_body_bytes:
            return Response(502, "the response is too large\n")
        try:
            said = await stream.ask("response_body", body=chunk, end_of_stream=True)
            reply = self._apply(request, response, said, response.headers)
        except Away as error:
            return self._away(stream, error)
        return reply if reply is not None or said is None else new_body(said)

    async def log(self, request: Request, response: ResponseView | None) -> None:
        """Ends the stream."""
        stream = vars(request.state).pop(self._key, None)
        if stream is not None:
            await stream.end()

    async def close(self) -> None:
        """Closes the connection to the service."""
        await self._service.close()

    @body_mode("stream")
    def _unseen(self, request: Request, response: ResponseView, chunk: bytes, last: bool) -> None:
        return None

    async def _body(self, request: Request) -> bytes:
        body = await request.body()
        if len(body) > self.config.max_body_bytes:
            raise BadBody("the body is too large", 413)
        return body

    def _apply(
        self, request: Request, response: ResponseView | None, said: Any, headers: Any
    ) -> Response | None:
        """Does what the service says; raises `Away` before anything is done if that is not valid."""
        if said is None:
            return None
        try:
            if said.WhichOneof("response") == "immediate_response":
                return immediate(said.immediate_response)
            common = getattr(said, said.WhichOneof("response")).response
            mutate(request if response is None else response, headers, common.header_mutation)
        except Invalid as error:
            raise Away(f"its result is not valid: {error}") from None
        body = new_body(said)
        if response is None and body is not None:
            request.set_body(body)
        return None

    def _away(self, stream: Stream, error: Away) -> Response | None:
        stream.is_over = True
        self._service.away.begin(str(error)[:300])
        if self.config.when_away == "closed":
            return Response(503, "try again later\n", headers=[("retry-after", "1")])
        return None


"""Methods of requests that probably have a body, where it is not looked at."""


def _head(request: Request) -> Any:
    return header_map(
        request.headers,
        method=request.method,
        path=request.target,
        scheme=request.scheme,
        authority=request.host,
    )
