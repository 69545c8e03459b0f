"""A hook in every phase of a request, `def` and `async def` in turn; one request in a hundred makes one of them raise.

`/raised` tells how many did, and how many of those gave their client an error.
"""

import asyncio
import itertools
import json
import os

from headgate import (
    Attempt,
    Connection,
    Failure,
    Gateway,
    Request,
    Response,
    ResponseView,
    ServerView,
    UpstreamView,
)

EVERY = 100
WITHOUT_BODY = (
    "rewrite",
    "request",
    "balance",
    "upstream_request",
    "response",
    "response_body",
    "error",
    "log",
)
WITH_BODY = (*WITHOUT_BODY, "request_body")

gate = Gateway()
gate.listen(os.environ.get("BENCH_PHASES", "127.0.0.1:22025"))
origin = gate.upstream("origin", os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))
route = gate.route("/", to=origin)
numbers = itertools.count(1)
kinds = {"GET": itertools.cycle(WITHOUT_BODY), "POST": itertools.cycle(WITH_BODY)}
raised = dict.fromkeys(WITH_BODY, 0)


def maybe_raise(phase: str, request: Request) -> None:
    """Raises if it is this phase's turn in this request."""
    if request.state.raises == phase:
        raised[phase] += 1
        raise LookupError(f"as it should, in {phase}")


@gate.connect
async def connect(connection: Connection) -> None:
    """Once for each connection."""
    await asyncio.sleep(0)


@gate.rewrite
def rewrite(request: Request) -> None:
    """Decides which hook of this request raises."""
    request.state.raises = None
    if request.path != "/raised" and next(numbers) % EVERY == 0:
        request.state.raises = next(kinds[request.method])
        maybe_raise("rewrite", request)
    request.headers["x-rewritten"] = "yes"


@route.request
async def access(request: Request) -> None:
    """Waits, as a question to a database would."""
    await asyncio.sleep(0)
    maybe_raise("request", request)
    if request.state.raises == "error":  # which runs after a failure only
        raise LookupError("so that there is one")


@route.request_body
def request_body(request: Request, chunk: bytes, last: bool) -> bytes:
    """Another body goes on."""
    maybe_raise("request_body", request)
    return chunk.upper()


@route.balance
def balance(request: Request, upstream: UpstreamView) -> ServerView:
    """The only one."""
    maybe_raise("balance", request)
    return upstream.servers[0]


@route.upstream_request
async def upstream_request(request: Request, attempt: Attempt) -> None:
    """Signs, without waiting."""
    maybe_raise("upstream_request", request)
    request.headers["x-attempt"] = str(attempt.number)


@route.response
async def response(request: Request, response: ResponseView) -> None:
    """Waits, and changes the head."""
    await asyncio.sleep(0)
    maybe_raise("response", request)
    response.headers["x-gateway"] = "headgate"


@route.response_body
async def response_body(request: Request, response: ResponseView, chunk: bytes, last: bool) -> bytes:
    """Another body goes out."""
    maybe_raise("response_body", request)
    return chunk.upper()


@route.error
def error(request: Request, error: Failure) -> None:
    """Sees what failed."""
    maybe_raise("error", request)


@route.log
async def log(request: Request, response: ResponseView) -> None:
    """Continues after the response has been sent."""
    await asyncio.sleep(0)
    maybe_raise("log", request)


@gate.route("/raised")
def tell(request: Request) -> Response:
    """How many hooks raised so far."""
    failed = sum(count for phase, count in raised.items() if phase not in ("log",))
    return Response(200, json.dumps({"raised": sum(raised.values()), "failed": failed} | raised))
