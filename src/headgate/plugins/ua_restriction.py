"""Lets clients in by what they call themselves."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, Response
from headgate.native import Native, Passed, Remember

from ._lists import ENTRIES, Entries, EntryList
from ._remembered import Remembered


class UaRestriction(Plugin):
    """Refuses requests by their `User-Agent`, which any client can choose: it keeps only honest clients out.

    `allow` goes before `deny`; with `allow` alone all others are refused.
    """

    order = -380

    class Config(BaseModel):
        """Settings of `ua-restriction`."""

        model_config = ConfigDict(extra="forbid")

        allow: EntryList = Field(default=[], description=f"Who is let in: {ENTRIES}.")
        deny: EntryList = Field(default=[], description=f"Who is refused: {ENTRIES}.")
        missing: bool = Field(default=True, description="Whether requests without the field are let in.")
        status: int = Field(default=403, ge=400, le=599, description="The status of a refusal.")

    def setup(self, context: PluginContext) -> None:
        """Compiles the lists."""
        self._allow, self._deny = Entries(self.config.allow), Entries(self.config.deny)
        self._denied = context.counter("denied")
        self._verdicts = Remembered(self._is_allowed)
        self._passed = Passed()

    def native(self) -> Native:
        """What was let in is."""
        return Native(request=[Remember(["header:user-agent"], self._passed)])

    def request(self, request: Request) -> Response | None:
        """Looks at the field."""
        agent = request.headers.get("user-agent")
        is_allowed = self.config.missing if not agent else self._verdicts[agent]
        if is_allowed:
            return None
        self._denied.add()
        return Response(self.config.status, "not for this client\n")

    def _is_allowed(self, agent: str) -> bool:
        return self._allow.match(agent) or not (self._deny.match(agent) if self._deny else bool(self._allow))
