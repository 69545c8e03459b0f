"""Makes images smaller, on workers that pull: the gateway decodes none itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import (
    ConfigError,
    FetchError,
    FetchResponse,
    Plugin,
    PluginContext,
    Request,
    Response,
    ResponseView,
)

from ._bodies import BadBody
from ._fields import FRAMING
from ._media_types import is_changeable, weight
from ._services import OF_A_PROXY, Trouble, forwarding_fields

Format = Literal["jpeg", "png", "webp"]
TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif")
SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
NOT_OF_THE_ORIGINAL = frozenset(
    (
        *FRAMING,
        "host",
        "accept-encoding",
        "range",
        "if-range",
        "if-match",
        "if-none-match",
        "if-modified-since",
    )
)
OF_THE_OLD_BODY = (
    "etag",
    "last-modified",
    "accept-ranges",
    "content-md5",
    "digest",
    "content-digest",
    "repr-digest",
)


class ImageResize(Plugin):
    """Makes the images of responses smaller where the query asks for it: `?w=200&h=100&fit=cover&fm=webp`.

    The image is handed to an upstream with `balance: pull`, whose workers are `headgate pull worker
    headgate.pull.images:resize`; they need `pip install 'headgate[images]'`, and memory for `max_pixels`. Clients
    choose of the `sizes`, so that they cannot have any number of images made. JPEG, PNG, WebP and GIF (its first
    frame) are read; pixels are counted before anything is decoded, the picture is turned as its EXIF data says, and
    metadata goes. SVG stays as it is, with a policy that keeps its scripts from running. Without a worker in time,
    `when_away` is done.
    """

    order = 470

    class Config(BaseModel):
        """Settings of `image-resize`."""

        model_config = ConfigDict(extra="forbid")

        workers: str = Field(description="The upstream with `balance: pull` whose workers make images.")
        sizes: list[int] = Field(
            min_length=1, description="Widths and heights that may be asked for, in pixels."
        )
        formats: list[Format] = Field(
            default=["jpeg", "png", "webp"], description="Formats that may be asked for by `fm`."
        )
        prefer_webp: bool = Field(
            default=False, description="Whether clients that take WebP get it without `fm`, as `Accept` says."
        )
        quality: int = Field(default=80, ge=1, le=100, description="The quality of JPEG and WebP.")
        max_body_bytes: int = Field(default=10_485_760, ge=1, description="The most bytes of an image.")
        max_pixels: int = Field(
            default=40_000_000,
            ge=1,
            le=400_000_000,
            description="The most pixels of an image; of all frames 4 times.",
        )
        timeout: float = Field(
            default=10, gt=0, description="The longest that an image may take, in seconds, waiting included."
        )
        when_away: Literal["original", "fail"] = Field(
            default="original",
            description="What clients get where no worker has made the image: the whole one, or a 503.",
        )

        @field_validator("sizes")
        @classmethod
        def _sizes(cls, sizes: list[int]) -> list[int]:
            for one in sizes:
                if not 1 <= one <= 10_000:
                    raise ConfigError(f"`{one}` is not a valid size", hint="write 1 to 10000 pixels")
            return sizes

    def setup(self, context: PluginContext) -> None:
        """Makes the counters."""
        self._context = context
        self._sizes = {str(one) for one in self.config.sizes}
        self._made = context.counter("made")
        self._away = Trouble(
            context, "worker_failures", "no worker makes images", "workers make images again"
        )

    async def request(self, request: Request) -> Response | None:
        """Fetches the image, and has it made smaller."""
        query, upstream = request.query_params, request.upstream
        if request.method not in ("GET", "HEAD") or not any(name in query for name in ("w", "h", "fm")):
            return None
        try:
            wanted = self._wanted(request)
        except BadBody as error:
            return Response.json({"error": str(error)}, error.status)
        if upstream is None:
            return None
        rest = [(name, value) for name, value in query.multi_items() if name not in ("w", "h", "fit", "fm")]
        target = f"{request.path}?{urlencode(rest)}" if rest else request.path
        fields = [
            (name, value)
            for name, value in request.headers.items()
            if name not in NOT_OF_THE_ORIGINAL and not OF_A_PROXY.fullmatch(name)
        ]
        fields += [("host", request.host), *forwarding_fields(request)]
        try:
            found = await self._context.fetch_upstream(
                upstream, target, method="GET", headers=[*fields, ("accept-encoding", "identity")]
            )
        except (FetchError, OSError):
            return None  # the route's own failure, as the gateway makes it
        try:
            return await self._replied(request, found, wanted)
        except (FetchError, OSError):
            return Response.json({"error": "the image of the server ended prematurely"}, 502)

    def response(self, request: Request, response: ResponseView) -> None:
        """Keeps scripts of SVG from running."""
        headers = response.headers
        if headers.get("content-type", "").partition(";")[0].strip().lower() == "image/svg+xml":
            headers["content-security-policy"] = SVG_POLICY
            headers["x-content-type-options"] = "nosniff"

    async def _replied(self, request: Request, found: FetchResponse, wanted: dict[str, str]) -> Response:
        headers = found.headers
        fields = [(name, value) for name, value in headers.items() if name not in FRAMING]
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        is_plain = "content-encoding" not in headers and is_changeable(found.status, headers)
        if found.status != 200 or kind not in TYPES or not is_plain:
            return Response.stream(found.stream(), found.status, headers=fields)
        source = found.stream()
        begun = bytearray()
        async for chunk in source:
            begun += chunk
            if len(begun) > self.config.max_body_bytes:
                return Response.stream(_both(bytes(begun), source), found.status, headers=fields)
        original = bytes(begun)
        if "format" not in wanted:
            wanted = {**wanted, "format": self._format(request, kind)}
        made = await self._from_worker(original, wanted)
        if made is None:
            if self.config.when_away == "fail":
                return Response(503, "the image cannot be made now\n", headers=[("retry-after", "5")])
            return Response(200, original, headers=fields)
        status, content = made
        if status != 200:
            return Response.json({"error": "the image of the server cannot be made smaller"}, 502)
        self._made.add()
        reply = Response(200, content, headers=[one for one in fields if one[0] not in OF_THE_OLD_BODY])
        reply.headers["content-type"] = f"image/{wanted['format']}"
        if self.config.prefer_webp:
            reply.headers.add("vary", "Accept")
        return reply

    async def _from_worker(self, original: bytes, wanted: dict[str, str]) -> tuple[int, bytes] | None:
        """What a worker replies; none if there is none in time."""
        config = self.config
        said = {**wanted, "quality": str(config.quality), "max_pixels": str(config.max_pixels)}
        target = f"/resize?{urlencode(said)}"
        try:
            async with asyncio.timeout(config.timeout):
                reply = await self._context.fetch_upstream(
                    config.workers, target, method="POST", body=original, timeout=config.timeout
                )
                content = await reply.body(max_bytes=config.max_body_bytes * 2)
        except (FetchError, OSError, TimeoutError) as error:
            self._away.begin(type(error).__name__)
            return None
        if reply.status >= 500:
            self._away.begin(f"its status is {reply.status}")
            return None
        self._away.end()
        return reply.status, content

    def _wanted(self, request: Request) -> dict[str, str]:
        """What the query asks for; raises `BadBody`."""
        query, made = request.query_params, {}
        for name, key in (("w", "width"), ("h", "height")):
            if name in query:
                text = query[name]
                if text not in self._sizes:
                    raise BadBody(f"`{name}` is not one of the sizes that can be had")
                made[key] = text
        if query.get("fit", "inside") not in ("inside", "cover"):
            raise BadBody("`fit` is neither `inside` nor `cover`")
        made["fit"] = query.get("fit", "inside")
        if "fm" in query:
            if query["fm"] not in self.config.formats:
                raise BadBody("`fm` is not one of the formats that can be had")
            made["format"] = query["fm"]
        return made

    def _format(self, request: Request, kind: str) -> str:
        accept = ",".join(request.headers.get_all("accept"))
        if self.config.prefer_webp and "image/webp" in accept and weight(accept, "image/webp")[0] > 0:
            return "webp"
        source = kind.removeprefix("image/")
        return source if source != "gif" else "png"


async def _both(begun: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield begun
    async for chunk in rest:
        yield chunk
