"""The ASGI application: which path leads where, and what every request goes through."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from headgate.config.admin import AdminConfig
from headgate.config.errors import ConfigError, nearest, suggestion
from headgate.config.resources import KINDS
from headgate.stores import StoreConflict, StoreCorrupt, StoreReadOnly, StoreUnavailable

from . import compacting, history, openapi, profiling, recent, resources, transactions
from .access import Access, Caller
from .breakpoints import Breakpoints
from .dashboard import dashboard_routes
from .live import Live
from .node import Node
from .problems import Refusal, of_configuration, of_text, problem
from .route_testing import RouteTester

Handler = Callable[[Request, Node, Caller], Awaitable[Response]]

HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

PATHS: tuple[tuple[str, str, Handler], ...] = (
    ("/v1/transactions", "POST", transactions.transaction),
    ("/v1/validate", "POST", transactions.validate),
    ("/v1/import", "POST", transactions.import_),
    ("/v1/export", "GET", transactions.export),
    ("/v1/rollback", "POST", transactions.rollback),
    ("/v1/compact", "POST", compacting.compact),
    ("/v1/history", "GET", history.history),
    ("/v1/diff", "GET", history.diff),
    ("/v1/status", "GET", history.status),
    ("/v1/requests", "GET", recent.requests),
    ("/v1/profile", "POST", profiling.profile),
    ("/v1/config", "GET", history.configuration),
    ("/openapi.json", "GET", openapi.document),
    *((f"/v1/{kind}", "GET", resources.many) for kind in KINDS),
    *((f"/v1/{kind}/{{name}}", "GET PUT PATCH DELETE", resources.one) for kind in KINDS),
)

ONE = ("GET", "HEAD", "PUT", "PATCH", "DELETE")
"""Methods of one resource."""

logger = logging.getLogger("headgate.admin")


def admin_app(admin: AdminConfig, node: Node) -> ASGIApp:
    """The Admin API of a node."""
    access, breakpoints = Access(admin), Breakpoints(admin)
    routes = [
        Route(path, partial(_answered, handler, node, access), methods=methods.split())
        for path, methods, handler in (
            *PATHS,
            ("/v1/live", "GET", Live().respond),
            ("/v1/breakpoints", "GET POST", breakpoints.every),
            ("/v1/breakpoints/{number}", "GET DELETE", breakpoints.one),
            ("/v1/routes/-/test", "POST", RouteTester().respond),
        )
    ]
    app = Starlette(
        routes=[*routes, *dashboard_routes(access)],
        exception_handlers={HTTPException: partial(_not_routed, access)},
    )
    app.router.redirect_slashes = False
    return _resources_first(app, partial(_answered, resources.one, node, access))


def _resources_first(app: ASGIApp, one: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    """The application with a short way for requests of one resource, which somebody waits for by the thousand."""

    async def shortened(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ONE:
            match scope["path"].split("/"):
                case ["", "v1", kind, name] if kind in KINDS and name:
                    scope["path_params"] = {"name": name}
                    response = await one(Request(scope, receive))
                    return await response(scope, receive, send)
        return await app(scope, receive, send)

    return shortened


async def _answered(handler: Handler, node: Node, access: Access, request: Request) -> Response:
    """The response of a handler, or what is wrong with the request."""
    try:
        response = await handler(request, node, access.caller(request))
    except Refusal as refusal:
        response = refusal.response()
    except ConfigError as error:
        response = of_configuration(error)
    except StoreUnavailable as error:
        response = of_text(503, str(error), {"retry-after": "1"})
    except StoreReadOnly as error:
        response = of_text(405 if request.method == "GET" else 409, f"the store cannot be written: {error}")
    except StoreConflict as error:
        response = of_text(409, str(error))
    except StoreCorrupt as error:
        response = of_text(502, f"the store gave what cannot be read: {error}")
    except Exception:
        logger.exception("a request of the Admin API failed")
        response = problem(500, "something went wrong here; the error log says what")
    response.headers.update(HEADERS)
    return response


async def _not_routed(access: Access, request: Request, error: Exception) -> Response:
    """404 and 405, which say nothing to strangers either."""
    assert isinstance(error, HTTPException), "this is called for nothing else"
    try:
        access.caller(request)
        detail = f"there is no `{request.url.path[:100]}`" if error.status_code == 404 else error.detail
        response = problem(error.status_code, detail, _kind_hint(request), headers=error.headers)
    except Refusal as refusal:
        response = refusal.response()
    response.headers.update(HEADERS)
    return response


def _kind_hint(request: Request) -> str | None:
    parts = request.url.path.split("/")
    if len(parts) < 3 or parts[1] != "v1" or parts[2] in KINDS:
        return None
    operations = [path.split("/")[2] for path, _, _ in PATHS if path.startswith("/v1/")]
    near = nearest(parts[2], operations)
    return suggestion(parts[2], KINDS if near is None else [near])
