"""Hooks: every phase of a request's life, on the gateway and on one route."""

import logging
import time

from headgate import Attempt, Failure, Gateway, Request, Response, ResponseView

logger = logging.getLogger("gate")
gate = Gateway()
gate.listen("127.0.0.1:8080")
gate.hook_defaults(deadline="5s")
api = gate.upstream("api", "127.0.0.1:9000")


@gate.startup
async def begin() -> None:
    """Each worker runs this before it accepts: the place to open connection pools."""
    logger.info("a worker starts")


@gate.rewrite
def forget_old_prefix(request: Request) -> None:
    """Before a route is chosen, the path may still change."""
    if request.path.startswith("/old/"):
        request.path = "/" + request.path.removeprefix("/old/")


@gate.request
def start_clock(request: Request) -> None:
    """`state` belongs to one request, in all its phases."""
    request.state.began = time.monotonic()


@gate.route("/orders/*", to=api)
async def known_callers_only(request: Request) -> Response | None:
    """Returning a response sends it to the client; returning nothing continues."""
    if "authorization" not in request.headers:
        return Response(401, "who are you?\n")
    return None


@known_callers_only.upstream_request
def sign(request: Request, attempt: Attempt) -> None:
    """Runs for each attempt, so a retry is signed anew."""
    request.headers["x-attempt"] = str(attempt.number)


@known_callers_only.response
def hide_server(request: Request, response: ResponseView) -> None:
    """Sees the head of the server's response before the client does."""
    if "server" in response.headers:
        del response.headers["server"]


@known_callers_only.error(on_error="open")
def apologise(request: Request, error: Failure) -> Response:
    """Responds when the servers could not."""
    return Response.json({"error": error.kind, "retry": error.retry_safe}, error.status)


@gate.log
def record(request: Request, response: ResponseView) -> None:
    """Runs after the last byte, and delays nobody; also for what was refused before it had a clock."""
    if hasattr(request.state, "began"):
        logger.info("%s %s took %.4f s", request.method, request.path, time.monotonic() - request.state.began)


@gate.shutdown
async def end() -> None:
    """Each worker runs this after its last request."""
    logger.info("a worker stops")
