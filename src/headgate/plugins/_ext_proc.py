"""The stream of Envoy's ext_proc for one request, and what its messages say."""

from __future__ import annotations

import asyncio
from typing import Any

from headgate import Response

from ._envoy import OVERWRITE, Invalid, reply_fields, wanted
from ._grpc import GrpcService

PROCESS = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
LEFT_OPEN = 1.0
"""How long a service has to end its side of a stream, in seconds."""


class Away(Exception):
    """The service is not reached, late, or says what is not valid; the text says which."""


class Stream:
    """A stream to the service, opened with the first message."""

    def __init__(self, service: GrpcService, timeout: float) -> None:
        self._service = service
        self._timeout = timeout
        self._call: Any = None
        self.is_over = False
        """Whether the service sees no more of the request."""

    async def ask(self, kind: str, **parts: Any) -> Any:
        """What the service says of a part; `None` if it has ended the stream, and has nothing more to say."""
        import grpc
        from envoy.service.ext_proc.v3 import external_processor_pb2 as messages

        if self._call is None:
            self._call = self._service.channel.stream_stream(
                PROCESS,
                request_serializer=messages.ProcessingRequest.SerializeToString,
                response_deserializer=messages.ProcessingResponse.FromString,
            )()
        part = messages.HttpBody(**parts) if kind.endswith("body") else messages.HttpHeaders(**parts)
        try:
            async with asyncio.timeout(self._timeout):
                await self._call.write(messages.ProcessingRequest(**{kind: part}))
                said = await self._call.read()
        except TimeoutError:
            self._call.cancel()
            raise Away(f"it took longer than {self._timeout} s") from None
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            raise Away(await self._reason(error)) from None
        if said is grpc.aio.EOF:
            self.is_over = True
            if await self._call.code() != grpc.StatusCode.OK:
                raise Away(await self._reason(None))
            self._service.away.end()
            return None
        self._service.away.end()
        found = said.WhichOneof("response")
        if found == "immediate_response":
            self.is_over = True
        elif found != kind:
            raise Away(f"its result is of `{found}`, not of `{kind}`")
        return said

    async def end(self) -> None:
        """Tells the service that there is nothing more; one that does not end its side is cut off."""
        import grpc

        if self._call is None or self._call.done():
            return
        try:
            await self._call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            return
        asyncio.get_running_loop().call_later(LEFT_OPEN, self._call.cancel)

    async def _reason(self, error: Exception | None) -> str:
        if not self._call.done():
            return str(error)
        return f"{(await self._call.code()).name}: {await self._call.details()}"


def new_body(said: Any) -> bytes | None:
    """The body that is to take the place of the one that was seen; raises `Away` for one in another form."""
    mutation = getattr(said, said.WhichOneof("response")).response.body_mutation
    kind = mutation.WhichOneof("mutation")
    if kind == "streamed_response":
        raise Away("its result is a streamed body")
    if kind == "clear_body":
        return b"" if mutation.clear_body else None
    return bytes(mutation.body) if kind == "body" else None


def immediate(said: Any) -> Response:
    """The response that the service makes; raises `Invalid`."""
    status = said.status.code or 200
    if not 200 <= status <= 599:
        raise Invalid(f"the status {status}")
    fields = reply_fields(wanted(said.headers.set_headers, default=OVERWRITE))
    return Response(status, said.body or None, headers=fields)
