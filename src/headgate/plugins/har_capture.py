"""Writes samples of exchanges to HAR files, with secrets masked."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, ResponseView
from headgate.native import AskSet, Native, Sample

from ._fields import ReadName
from ._har import Exchange, Part, append, entry
from ._masking import HEADERS, NAMES, Masking

MOST_WAITING = 100


class HarCapture(Plugin):
    """Writes some exchanges to HTTP Archives (HAR 1.2), which browsers' tools and `headgate replay` read.

    Each worker has a file `NAME-PID.har` in `folder`, which is whole at every moment, and the one before it as `NAME-
    PID.1.har`; both have at most `max_file_bytes`, and only their owner can read them. Values of fields, parameters
    and members of JSON with the names in `mask_headers` and `mask_names` are `***`, and so are all cookies, segments of
    `mask_paths`, addresses of mail and JWT in paths, and what the access log masks; other
    secrets are written down. Bodies are kept up to `max_body_bytes`, gzip and deflate undone, texts as text and
    others as base64. What cannot be written is dropped and counted. As for every plugin with a hook of response
    bodies, `Range` does not reach the server: use it with `on` and `when`.
    """

    order = -800

    class Config(BaseModel):
        """Settings of `har-capture`."""

        model_config = ConfigDict(extra="forbid")

        folder: Path = Field(description="The folder of the files; it has to be there.")
        percent: float = Field(
            default=1, gt=0, le=100, description="How many requests of a hundred are written."
        )
        max_body_bytes: int = Field(
            default=65536, ge=0, le=16_777_216, description="The most bytes of a body."
        )
        max_file_bytes: int = Field(default=16_777_216, ge=65536, description="The most bytes of each file.")
        mask_headers: list[ReadName] = Field(
            default=list(HEADERS), description="Header fields that are secrets."
        )
        mask_names: list[str] = Field(
            default=list(NAMES),
            description="Parameters of queries and forms, and members of JSON, that are secrets.",
        )
        mask_paths: list[str] = Field(
            default=[],
            description="Paths whose segments in braces are secrets: `/reset/{token}`, `/unsubscribe/*` for all that "
            "follows. Addresses of mail and JWT in paths always are. Access logs and traces mask these paths as well.",
        )

        @field_validator("folder")
        @classmethod
        def _folder(cls, folder: Path) -> Path:
            if not os.path.isdir(folder):  # also for names that cannot be
                raise ConfigError(
                    f"the folder `{folder}` does not exist", hint="create it, for the gateway's user only"
                )
            return folder

    def setup(self, context: PluginContext) -> None:
        """Prepares the masks."""
        config = self.config
        self._context = context
        context.mask_paths(*config.mask_paths)
        self._masking: tuple[Any, Masking] | None = None
        self._key = f"{context.name} exchange"
        self._sampled_key = f"{context.name} sampled"
        self._waiting: list[Exchange] = []
        self._is_writing = False
        self._written, self._dropped = context.counter("written"), context.counter("dropped")

    def native(self) -> Native:
        """Chooses; of what is not chosen no hook sees anything."""
        noted = [AskSet(self._key)]
        return Native(
            request=[Sample(self.config.percent, self._sampled_key)],
            request_body=noted,
            response=noted,
            response_body=noted,
            log=noted,
        )

    def request(self, request: Request) -> None:
        """Chooses, and notes the request as it came."""
        state = vars(request.state)
        if self._sampled_key not in state and random.random() * 100 >= self.config.percent:
            return
        state[self._key] = Exchange(
            time.time(),
            request.method,
            f"{request.scheme}://{request.host}{request.target}",
            request.version,
            Part([("host", request.host), *request.headers.items()]),
            comment=f"request {request.id}, route {request.route_name or '(none)'}",
        )

    def request_body(self, request: Request, chunk: bytes, last: bool) -> None:
        """Notes the body."""
        exchange = getattr(request.state, self._key, None)
        if exchange is not None:
            exchange.request.take(chunk, self.config.max_body_bytes)

    def response(self, request: Request, response: ResponseView) -> None:
        """Notes when the head came."""
        exchange = getattr(request.state, self._key, None)
        if exchange is not None:
            exchange.waited = max(time.time() - exchange.began, 0)

    def response_body(self, request: Request, response: ResponseView, chunk: bytes, last: bool) -> None:
        """Notes the body."""
        exchange = getattr(request.state, self._key, None)
        if exchange is not None:
            exchange.response.take(chunk, self.config.max_body_bytes)

    def log(self, request: Request, response: ResponseView | None) -> None:
        """Writes it down."""
        exchange = vars(request.state).pop(self._key, None)
        if exchange is None:
            return
        exchange.took = max(time.time() - exchange.began, 0)
        if response is not None:
            exchange.status = response.status
            exchange.response.fields = response.headers.items()
        if len(self._waiting) >= MOST_WAITING:
            self._dropped.add()
            return
        self._waiting.append(exchange)
        if not self._is_writing:
            self._is_writing = True
            self._context.spawn(self._write())

    async def _write(self) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting, []
                try:
                    await self._context.run_in_thread(self._append, taken)
                    self._written.add(len(taken))
                except OSError as error:
                    self._dropped.add(len(taken))
                    self._context.log.warning("exchanges cannot be written", extra={"reason": str(error)})
        finally:
            self._is_writing = False

    def _masked(self) -> Masking:
        """What is masked: what the plugin names, and what the gateway does now."""
        known = self._context.masked_query, self._context.masked_paths
        if self._masking is None or self._masking[0] != known:
            config = self.config
            names, paths = {*config.mask_names, *known[0]}, {*config.mask_paths, *known[1]}
            self._masking = known, Masking(config.mask_headers, names, paths)
        return self._masking[1]

    def _append(self, exchanges: list[Exchange]) -> None:
        config = self.config
        file = config.folder / f"{self._context.name}-{os.getpid()}.har"
        masking = self._masked()
        entries = [entry(one, masking, config.max_body_bytes) for one in exchanges]
        for one in entries:
            if len(one) < config.max_file_bytes - 4096:
                append(file, [one], config.max_file_bytes)
