"""Refuses requests by what stands in their targets."""

from __future__ import annotations

from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response
from headgate.native import Native

from ._lists import ENTRIES, Entries, EntryList
from ._remembered import Remembered


class UriBlocker(Plugin):
    """Refuses requests whose path or query has something that is asked for by scanners only, such as `/wp-admin`.

    Each is looked at as it came and decoded, up to twice: `%2e%2e` and `%252e%252e` hide nothing.
    """

    order = -360

    class Config(BaseModel):
        """Settings of `uri-blocker`."""

        model_config = ConfigDict(extra="forbid")

        block: EntryList = Field(min_length=1, description=f"What is refused: {ENTRIES}.")
        query: bool = Field(default=True, description="Whether the query is looked at too.")
        status: int = Field(default=403, ge=400, le=599, description="The status of a refusal.")

    def setup(self, context: PluginContext) -> None:
        """Compiles the list."""
        self._block = Entries(self.config.block)
        self._denied = context.counter("denied")
        self._verdicts = Remembered(self._is_blocked)

    def native(self) -> Native:
        """Targets without any of the entries, however they are spelled."""
        found = self._block.natively("target" if self.config.query else "path")
        return Native(request=[found] if found else None)

    def request(self, request: Request) -> Response | None:
        """Looks at the target, however it is spelled."""
        if not self._verdicts[request.target if self.config.query else request.path]:
            return None
        self._denied.add()
        return Response(self.config.status, "not here\n")

    def _is_blocked(self, text: str) -> bool:
        for _ in range(3):
            if self._block.match(text):
                return True
            decoded = unquote(text, errors="surrogateescape") if "%" in text else text
            if decoded == text:
                return False
            text = decoded
        return False
