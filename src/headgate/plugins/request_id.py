"""Gives each request an id that sorts by time."""

from __future__ import annotations

import random
import re
import time

from pydantic import BaseModel, ConfigDict, Field

from headgate import Plugin, PluginContext, Request, ResponseView
from headgate.native import Native, NotedField, SetId, can_set

from ._fields import FieldName

GOOD = re.compile(r"[A-Za-z0-9._~+/=-]{8,128}")


class RequestId(Plugin):
    """Gives each request a UUID of version 7 (RFC 9562), which sorts by time, and tells it to server and client.

    An id that a client sends is replaced, unless `accept` is on and it has 8 to 128 plain characters: then it stays.
    The gateway's own logs have `request.id`; other plugins find this one in `request.state.request_id`.
    Used twice, each field has an id of its own; of two uses for one field the second keeps what the first made.
    """

    order = -900

    class Config(BaseModel):
        """Settings of `request-id`."""

        model_config = ConfigDict(extra="forbid")

        header: FieldName = Field(
            default="x-correlation-id",
            description="The header field that holds the id. `x-request-id` is the gateway's own, unless its "
            "`request_id_header` says otherwise.",
        )
        accept: bool = Field(default=False, description="Whether an id that came along is kept.")
        response: bool = Field(default=True, description="Whether the client is told.")

    def setup(self, context: PluginContext) -> None:
        """Seeds chance, in each worker anew."""
        self._random = random.Random()
        self._key = f"{self.config.header.lower()} id"

    def native(self) -> Native:
        """All that it does, where it is used once."""
        header = self.config.header
        tell = [NotedField(header, self._key)] if self.config.response else []
        made = SetId(header, self._key, state="request_id", accept=self.config.accept)
        return Native(request=[made], response=tell, alone=True) if can_set(header) else Native()

    def request(self, request: Request) -> None:
        """Sets the field."""
        state = vars(request.state)
        former, is_ours = state.get(self._key, (None, False))
        if is_ours:
            return
        given = request.headers.get(self.config.header) if self.config.accept else None
        id = given if given is not None and GOOD.fullmatch(given) else self._made()
        if id is not given:
            request.headers[self.config.header] = id
        if state.get("request_id") == former:
            state["request_id"] = id
        state[self._key] = (id, id is not given)

    def response(self, request: Request, response: ResponseView) -> None:
        """Tells the client."""
        id, _ = vars(request.state).get(self._key, (None, False))
        if self.config.response and id is not None:
            response.headers[self.config.header] = id

    def _made(self) -> str:
        chance = self._random.getrandbits(74)
        bits = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | 0b10 << 62
        bits |= (chance >> 62) << 64 | chance & (1 << 62) - 1
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
