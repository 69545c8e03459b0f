"""Asks a service of one's own whether a request may come in, as Traefik's ForwardAuth and nginx's auth_request do."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response, ResponseView

from ._fields import FRAMING, NAME, ReadName
from ._services import CREDENTIALS, Decision, Service, ServiceUrl, WhenAway, told_fields

NOT_PASSED = FRAMING | {"date", "host", "server", "via"}


def _checked(names: list[str]) -> list[str]:
    for name in names:
        if not NAME.fullmatch(name) or name.lower() in NOT_PASSED:
            raise ConfigError(f"`{name}` cannot be passed on", hint="name a field such as `x-user`")
    return [name.lower() for name in names]


class ForwardAuth(Plugin):
    """Sends the head of each request to a service: it goes on if the status is 2xx, else the client gets the service's
    response.

    The service gets a GET with the client's fields, and `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For`,
    which the gateway alone writes. What it says in `copy` replaces the client's own fields, also if it says nothing;
    no client can send those, on any route (of `authorization` and `cookie`: on routes with the plugin).
    A status of 500 and more, a 304, and a service that is late or away are a 503, or as `when_away` says.
    """

    order = 5

    class Config(BaseModel):
        """Settings of `forward-auth`."""

        model_config = ConfigDict(extra="forbid")

        url: ServiceUrl = Field(description="The service: `http://10.0.0.9:9000/verify`.")
        request_headers: list[ReadName] | None = Field(
            default=None,
            description="The client's fields that it gets; null is all but those of its connection.",
        )
        copy_: list[str] = Field(
            default=[],
            alias="copy",
            description="Fields of its response that the server gets, such as `x-user`.",
        )
        consumer: str | None = Field(
            default=None,
            description="The field of its response that names the consumer, for other plugins; one of `copy`.",
        )
        to_client: list[str] = Field(
            default=[],
            description="Fields of its response that the client gets although it may come in, such as `set-cookie`.",
        )
        refusal_headers: list[str] = Field(
            default=["content-type", "location", "retry-after", "set-cookie", "www-authenticate"],
            description="Fields of a refusal that the client gets.",
        )
        timeout: float = Field(
            default=2, gt=0, description="The longest that it may take in all, in seconds."
        )
        when_away: WhenAway = Field(
            default="closed", description="Without the service: `closed` is a 503, `open` lets everybody in."
        )
        max_body_bytes: int = Field(
            default=65536, ge=0, description="The most bytes of a refusal's body; a longer one is left out."
        )

        @field_validator("copy_", "to_client", "refusal_headers")
        @classmethod
        def _names(cls, names: list[str]) -> list[str]:
            return _checked(names)

    def setup(self, context: PluginContext) -> None:
        """Takes the fields that only the service may say out of what clients send."""
        config = self.config
        if config.consumer is not None and config.consumer.lower() not in config.copy_:
            raise ConfigError(f"`{config.consumer}` is not in `copy`", hint="clients could send it otherwise")
        context.remove_from_clients(*(set(config.copy_) - CREDENTIALS))
        self._service = Service(
            context, config.url, timeout=config.timeout, max_body_bytes=config.max_body_bytes
        )
        self._key = f"{context.name} to client"
        self._denied = context.counter("denied")

    async def request(self, request: Request) -> Response | None:
        """Asks."""
        told = [
            *told_fields(request, self.config.request_headers),
            ("x-forwarded-method", request.method),
            ("x-forwarded-proto", request.scheme),
            ("x-forwarded-host", request.host),
            ("x-forwarded-uri", request.target),
            ("x-forwarded-for", request.client.address),
            ("x-request-id", request.id),
        ]
        decision = await self._service.ask(method="GET", headers=told)
        if decision is None or decision.status == 304:
            if self.config.when_away == "closed":
                return Response(503, "try again later\n", headers=[("retry-after", "1")])
            self._let_in(request, None)
            return None
        if 200 <= decision.status < 300:
            self._let_in(request, decision)
            return None
        self._denied.add()
        return self._refusal(decision)

    def response(self, request: Request, response: ResponseView) -> None:
        """Tells the client what the service says to it."""
        for name, value in getattr(request.state, self._key, ()):
            response.headers.add(name, value)

    def _let_in(self, request: Request, decision: Decision | None) -> None:
        for name in self.config.copy_:
            request.headers.pop(name, None)
            for value in decision.headers.get_all(name) if decision else ():
                request.headers.add(name, value)
        if decision is None:
            return
        if self.config.consumer is not None and (consumer := decision.headers.get(self.config.consumer)):
            request.state.consumer = consumer
        if self.config.to_client:
            vars(request.state)[self._key] = [
                (name, value) for name in self.config.to_client for value in decision.headers.get_all(name)
            ]

    def _refusal(self, decision: Decision) -> Response:
        fields = [
            (name, value)
            for name in self.config.refusal_headers
            for value in decision.headers.get_all(name)
            if decision.body or name != "content-type"
        ]
        return Response(decision.status, decision.body or None, headers=fields)
