"""Has uploads scanned before they reach a server: by an ICAP server, or by a command."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response

from ._bodies import BadBody, decoded, media_type
from ._icap import Scan, icap_address, scan
from ._services import Trouble

SHORTEST = 64
"""Bytes: no shorter text in a form can be harmful by itself."""
NOT_PLAIN = re.compile(r"[^\x21-\x7e]")


class UploadScan(Plugin):
    """Refuses uploads in which a scanner finds something: an ICAP server (RFC 3507) such as c-icap with ClamAV, or a
    command that reads the upload from its standard input, and ends with 0 for a clean one and 1 for another.

    The whole body is read, without its Content-Encoding. Of a form (`multipart/form-data`) each file and each long
    text is scanned by itself; one that is not a valid form is refused. What is found is logged and counted
    (`infected`); the client learns only that the upload is refused. Without a scanner, uploads are refused with 503
    unless `when_away` is `open`.
    """

    order = 230

    class Config(BaseModel):
        """Settings of `upload-scan`."""

        model_config = ConfigDict(extra="forbid")

        icap: str | None = Field(default=None, description="The service: `icap://127.0.0.1:1344/avscan`.")
        command: list[str] | None = Field(
            default=None,
            min_length=1,
            description="A command and its arguments: `[clamdscan, --no-summary, -]`.",
        )
        status: int = Field(default=403, ge=400, le=499, description="The status of a refusal.")
        max_body_bytes: int = Field(
            default=10_485_760,
            ge=1,
            description="The most bytes of an upload, decoded; a longer one is a 413.",
        )
        max_parts: int = Field(
            default=20, ge=1, le=1000, description="The most scans for a form; one that needs more is a 413."
        )
        max_running: int = Field(
            default=8,
            ge=1,
            le=256,
            description="Scans at a time in each worker; others wait, within `timeout`.",
        )
        timeout: float = Field(default=30, gt=0, description="Seconds for all scans of a request.")
        when_away: Literal["open", "closed"] = Field(
            default="closed", description="What becomes of uploads that nobody could scan: let in, or a 503."
        )

        @field_validator("icap")
        @classmethod
        def _icap(cls, url: str | None) -> str | None:
            if url is not None:
                icap_address(url)
            return url

        @field_validator("command")
        @classmethod
        def _command(cls, command: list[str] | None) -> list[str] | None:
            if command is not None and shutil.which(command[0]) is None:
                raise ConfigError(f"there is no command `{command[0]}`", hint="write its whole path")
            return command

        @model_validator(mode="after")
        def _one(self) -> UploadScan.Config:
            if (self.icap is None) == (self.command is None):
                raise ConfigError("a scanner is missing", hint="write `icap` or `command`, one of them")
            return self

    def setup(self, context: PluginContext) -> None:
        """Finds the scanner."""
        config = self.config
        self._context = context
        self._address = icap_address(config.icap) if config.icap else None
        self._running = asyncio.Semaphore(config.max_running)
        self._infected, self._scanned = context.counter("infected"), context.counter("scanned")
        self._away = Trouble(
            context, "scan_failures", "the scanner is unavailable", "the scanner is available again"
        )

    async def request(self, request: Request) -> Response | None:
        """Has the body scanned."""
        try:
            parts = await self._parts(request)
        except BadBody as error:
            return Response(error.status, f"{error}\n")
        target = NOT_PLAIN.sub("_", request.path)[:1000]
        try:
            async with asyncio.timeout(self.config.timeout):
                for kind, data in parts:
                    async with self._running:
                        found = await self._scan(data, target, kind)
                    self._scanned.add()
                    if not found.is_clean:
                        return self._refusal(request, found)
        except (OSError, TimeoutError, subprocess.SubprocessError) as error:
            self._away.begin(str(error) or type(error).__name__)
            if self.config.when_away == "open":
                return None
            return Response(503, "uploads cannot be checked at the moment\n", headers=[("retry-after", "10")])
        if parts:
            self._away.end()
        return None

    async def _parts(self, request: Request) -> list[tuple[str, bytes]]:
        """What is to be scanned, and its media types."""
        body = await decoded(request, self.config.max_body_bytes)
        if not body:
            return []
        kinds = request.headers.get_all("content-type")
        if len(kinds) > 1:
            raise BadBody("the Content-Type is not valid", 415)
        kind = kinds[0] if kinds else "application/octet-stream"
        if not kind.strip().lower().startswith("multipart/form-data"):
            return [(_plain(kind), body)]
        # what follows the last part of a form is no part of it: a server with another boundary would read it
        said = media_type(request)
        if said is None or not said.parameters.keys() <= {"boundary", "charset"}:
            raise BadBody("the Content-Type is not valid", 415)
        try:
            form = await request.form()
        except ValueError:
            raise BadBody("the form is not valid") from None
        parts: list[tuple[str, bytes]] = []
        for _, value in form.multi_items():
            if isinstance(value, str):
                if len(value) >= SHORTEST:
                    parts.append(("text/plain", value.encode("utf-8", "surrogateescape")))
            elif value.data:
                parts.append((_plain(value.content_type), value.data))
        if len(parts) > self.config.max_parts:
            raise BadBody("the form has too many parts", 413)
        return parts

    async def _scan(self, data: bytes, target: str, kind: str) -> Scan:
        if self._address is not None:
            return await scan(self._address, data, target=target, kind=kind)
        return await self._context.run_in_thread(self._by_command, self.config.command, data)

    def _by_command(self, command: Iterable[str], data: bytes) -> Scan:
        ended = subprocess.run(
            list(command),
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=self.config.timeout,
        )
        if ended.returncode not in (0, 1):
            raise OSError(f"the command ended with {ended.returncode}")
        text = " ".join(ended.stdout[:1000].decode("utf-8", "replace").split())
        return Scan(ended.returncode == 0, "".join(one if one.isprintable() else "?" for one in text)[:200])

    def _refusal(self, request: Request, found: Scan) -> Response:
        self._infected.add()
        self._context.log.warning(
            "an upload is refused",
            extra={
                "found": found.finding,
                "path": self._context.masked(request.path)[:200],
                "client": request.client.address,
            },
        )
        return Response(self.config.status, "the upload is refused\n")


def _plain(kind: str) -> str:
    """A media type that can stand in a header field."""
    name = kind.partition(";")[0].strip()
    return name if name and not NOT_PLAIN.search(name) else "application/octet-stream"
