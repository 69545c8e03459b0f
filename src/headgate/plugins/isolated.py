"""Runs a plugin that is not trusted in a process of its own, which may do nothing but compute."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response, ResponseView
from headgate.isolation.keeper import Keeper
from headgate.isolation.link import Ended, Setting
from headgate.isolation.lockdown import NotAllowed, check
from headgate.isolation.outcome import NotValid, apply, message, outcome

from ._bodies import BadBody, decoded
from ._services import Trouble

SLACK_BYTES = 262_144
SECRETS = ["authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"]


MOST_ORDER = 1_000_000


class IsolationError(RuntimeError):
    """A hook of an isolated plugin has failed, or its process; `on_error` of the use says what follows."""


class Isolated(Plugin):
    """Runs the hooks `request` and `response` of another plugin, which is not trusted, in a process of its own.

    `isolate: true` of that plugin's use is short for it. Workers never load its code. The process has no files,
    sockets, threads, children and environment variables (seccomp, and namespaces where they are allowed), and bounded
    memory and time. What the plugin imports is read before: modules of the standard library, `headgate`, `pydantic`,
    its own ones if they are Python, and `modules`. Its context has `name` and `log`, its request no `fetch`, `tls`
    and `set_body`, and a response is whole. A process that has ended is replaced, and the call made once more; one
    that is late is killed, and the call has failed: `on_error` of the use says what follows. Needs Linux with
    libseccomp, and `pip install 'headgate[isolate]'`.
    """

    class Config(BaseModel):
        """Settings of `isolated`."""

        model_config = ConfigDict(extra="forbid")

        plugin: str = Field(
            pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$",
            description="The class of the plugin: `module:Class`.",
        )
        config: dict[str, Any] = Field(default={}, description="The plugin's own settings.")
        digest: str = Field(
            default="", pattern=r"^([0-9a-f]{64})?$", description="SHA-256 of the only source that may run."
        )
        memory: int = Field(
            default=67_108_864,
            ge=1_048_576,
            description="The most bytes of memory, beyond those of Python itself.",
        )
        timeout: float = Field(
            default=1, gt=0, le=60, description="The longest that a call may take, in seconds."
        )
        max_body_bytes: int = Field(
            default=0,
            ge=0,
            le=16_777_216,
            description="The most bytes of a request body that it gets; 0: none.",
        )
        hide: list[str] = Field(
            default=SECRETS,
            description="Header fields that it does not see, and not change in requests; nor those that other plugins "
            "take out of what clients send, such as `x-consumer`.",
        )
        upstreams: list[str] = Field(default=[], description="Upstreams that it may choose.")
        modules: list[str] = Field(
            default=[], description="Installed packages that are trusted: they are imported with all rights."
        )

        @field_validator("modules")
        @classmethod
        def _modules(cls, modules: list[str]) -> list[str]:
            for one in modules:
                if not one.isidentifier():
                    raise ConfigError(f"`{one}` is not a valid package", hint="write `numpy`")
            return modules

    def setup(self, context: PluginContext) -> None:
        """Starts a process, which tells what hooks the plugin has."""
        config = self.config
        restarts = context.counter("restarts")
        self._keeper = Keeper(
            Setting(config.plugin, config.config, context.name, config.modules, config.memory, config.digest),
            timeout=config.timeout,
            max_bytes=config.max_body_bytes + SLACK_BYTES,
            on_restart=restarts.add,
        )
        self._key = f"{context.name} state"
        self._hidden = frozenset(name.lower() for name in config.hide)
        self._hidden_or_claimed = frozenset(name.replace("_", "-") for name in self._hidden)
        self._upstreams = frozenset(config.upstreams)
        self._context = context
        self._failures = Trouble(context, "failures", "an isolated plugin has failed")
        said = self._started()
        self.order = said["order"]
        # so that another source is another plugin: a reload then makes it anew
        self._settings = {**self._settings, "digest": said["digest"]}
        if "request" not in said["phases"]:
            self.request = self._nothing  # type: ignore[method-assign, assignment]
        if "response" not in said["phases"]:
            self.response = self._nothing  # type: ignore[method-assign, assignment]

    async def request(self, request: Request) -> Response | None:
        """Runs the plugin's hook."""
        body = None
        if self.config.max_body_bytes:
            try:
                body = await decoded(request, self.config.max_body_bytes)
            except BadBody as error:
                return Response(error.status, f"{error}\n")
        return await self._run("request", request, None, body)

    async def response(self, request: Request, response: ResponseView) -> Response | None:
        """Runs the plugin's hook."""
        return await self._run("response", request, response, None)

    def close(self) -> None:
        """Ends the process."""
        self._keeper.close()

    async def _run(self, phase: str, request: Request, response: Any, body: bytes | None) -> Response | None:
        own = vars(request.state)
        told = message(phase, request, response, hidden=self._hidden, body=body, state=own.get(self._key, {}))
        try:
            found = outcome(await self._keeper.ask(told))
            for level, text in found.lines:
                getattr(self._context.log, level)(text)
            if found.error is not None:
                raise NotValid(found.error)
            kept = self._hidden_or_claimed | self._context.identity_fields
            reply = apply(found, request, response, upstreams=self._upstreams, kept=kept)
        except (Ended, NotValid, TimeoutError) as error:
            reason = str(error) or f"it took longer than {self.config.timeout} s"
            self._failures.begin(reason)
            raise IsolationError(f"`{self.config.plugin}`: {reason}") from None
        self._failures.end()
        if found.state:
            own[self._key] = found.state
        return reply

    def _started(self) -> dict[str, Any]:
        try:
            check()
        except NotAllowed as error:
            hint = "pip install 'headgate[isolate]', on Linux with libseccomp"
            raise ConfigError(f"plugins cannot be isolated here: {error}", hint=hint) from None
        try:
            said = self._keeper.start()
        except Ended as error:
            said = {"refused": str(error)}
        if (
            not isinstance(said.get("phases"), list)
            or type(said.get("order")) is not int
            or abs(said["order"]) > MOST_ORDER
            or len(str(said.get("digest"))) != 64
        ):
            self._keeper.close()
            reason = str(said.get("refused") or said.get("failed") or "its result is not valid")[:1000]
            raise ConfigError(
                f"`{self.config.plugin}` cannot be isolated: {reason}",
                hint="the page of `isolated` says what such a plugin may be",
            )
        return said

    def _nothing(self, *_: object) -> None:
        return None
