"""The gateway that is trained: what most gateways do, plain and with TLS, and a hook of each common kind."""

import os

from headgate import Gateway, Request, Response, ResponseView

gate = Gateway()
gate.listen(os.environ["TRAIN_PLAIN"])
gate.listen(os.environ["TRAIN_TLS"], tls=os.environ["TRAIN_CERTIFICATE"])
gate.listen(os.environ["TRAIN_QUIC"], tls=os.environ["TRAIN_CERTIFICATE"], http3=True)
if log := os.environ.get("TRAIN_LOG"):
    gate.access_log(to=f"file:{log}")
origin = gate.upstream("origin", os.environ["TRAIN_ORIGIN"])
counters = gate.shared("counters", "1m")
seen: dict[str, int] = {}

gate.route("/*", to=origin)
gate.route("/*", host="*.example.test", to=origin)
gate.route("/users/{user}/files/*", to=origin)


@gate.route("/edited/*", strip_prefix="/edited", to=origin)
def edit(request: Request) -> None:
    request.headers["x-seen"] = request.headers.get("x-user") or "none"
    counters.incr("edited")


@edit.response
def stamp(request: Request, response: ResponseView) -> None:
    response.headers["x-gw"] = "headgate"


@gate.route("/awaited/*", strip_prefix="/awaited", to=origin)
async def look(request: Request) -> None:
    if request.headers.get("cookie"):
        request.headers["x-seen"] = request.path


@gate.route("/changed/*", strip_prefix="/changed", to=origin)
def change(request: Request) -> None:
    """Its responses are changed."""


@change.response_body
def upper(request: Request, response: ResponseView, chunk: bytes, last: bool) -> bytes:
    return chunk.upper()


@gate.route("/watched/*", strip_prefix="/watched", to=origin)
def watch(request: Request) -> None:
    """Its responses are observed."""


@watch.response_body
def count(request: Request, response: ResponseView, chunk: bytes, last: bool) -> None:
    seen["bytes"] = seen.get("bytes", 0) + len(chunk)


@gate.route("/fetched/*")
async def fetch(request: Request) -> Response:
    response = await origin.fetch(request.path.removeprefix("/fetched"))
    return Response(response.status, await response.body())


@gate.route("/local")
def local(request: Request) -> Response:
    return Response(200, "enough")
