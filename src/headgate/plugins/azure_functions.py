"""Requests to Azure Functions and other services of Azure, with a function's key or a token of Entra ID."""

from __future__ import annotations

from urllib.parse import unquote_plus

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response

from ._fields import FieldSecret
from ._services import ServiceUrl
from ._tokens import Tokens

KEY_FIELD = "x-functions-key"


class AzureFunctions(Plugin):
    """Adds to each request what an Azure Function asks for: its key in `x-functions-key`, or a token of Entra ID.

    The token is the gateway's own, by the grant of client credentials (RFC 6749 section 4.4); it is kept until a
    minute before its end. Clients' `Authorization`, `x-functions-key` and the parameter `code` are removed, so that
    nobody uses a key of his own. Without a token the request gets 503.
    """

    order = 901

    class Config(BaseModel):
        """Settings of `azure-functions`."""

        model_config = ConfigDict(extra="forbid")

        key: FieldSecret | None = Field(default=None, description="The key of the function or its host.")
        tenant: str | None = Field(
            default=None, pattern=r"^[A-Za-z0-9.-]{1,100}$", description="The directory of the application."
        )
        client_id: str | None = Field(default=None, description="The application's id.")
        client_secret: SecretStr | None = Field(default=None, description="Its secret.")
        scope: str | None = Field(
            default=None, description="What the token is for: `api://APPLICATION/.default`."
        )
        authority: ServiceUrl = Field(
            default="https://login.microsoftonline.com", description="Who gives tokens; other clouds differ."
        )
        timeout: float = Field(default=5, gt=0, description="Seconds to wait for a token.")

        @model_validator(mode="after")
        def _one(self) -> AzureFunctions.Config:
            parts = (self.tenant, self.client_id, self.client_secret, self.scope)
            if (self.key is None) == all(one is None for one in parts):
                raise ConfigError(
                    "a use has either a key or an application", hint="write `key`, or `tenant` and the others"
                )
            if self.key is None and any(one is None for one in parts):
                raise ConfigError(
                    "the application is not complete",
                    hint="write `tenant`, `client_id`, `client_secret` and `scope`",
                )
            return self

    def setup(self, context: PluginContext) -> None:
        """Prepares the request for a token."""
        config = self.config
        self._denied = context.counter("unsigned")
        self._tokens = None
        if config.key is None:
            form = {
                "grant_type": "client_credentials",
                "client_id": config.client_id,
                "client_secret": config.client_secret.get_secret_value(),
                "scope": config.scope,
            }
            url = f"{config.authority.rstrip('/')}/{config.tenant}/oauth2/v2.0/token"
            self._tokens = Tokens(context, url, lambda: form, "access_token", config.timeout)

    async def request(self, request: Request) -> Response | None:
        """Takes out what the client has, and adds what the gateway has."""
        headers = request.headers
        for name in {name for name in headers if name.replace("_", "-") in ("authorization", KEY_FIELD)}:
            del headers[name]
        _without_code(request)
        if self._tokens is None:
            headers[KEY_FIELD] = self.config.key.get_secret_value()
            return None
        token = await self._tokens.current()
        if token is None:
            self._denied.add()
            return Response(503, "try again later\n", headers=[("retry-after", "5")])
        headers["authorization"] = f"Bearer {token}"
        return None


def _without_code(request: Request) -> None:
    """Takes a key out of the query; the rest stays as it was written."""
    path, _, query = request.target.partition("?")
    names = {pair: unquote_plus(pair.partition("=")[0]).strip().lower() for pair in query.split("&")}
    kept = "&".join(pair for pair in query.split("&") if names[pair] != "code")
    if kept != query:
        request.target = f"{path}?{kept}" if kept else path
