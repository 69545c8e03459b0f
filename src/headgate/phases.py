"""The phases of a request's life, as one table: what a hook of each is given and what it may do.

How it works: everything that goes through phases reads this table: the configuration's `hooks`, the decorators, the
checks of signatures, the lists of the engine's snapshot, the reference page. The engine has a table of its
own (`PHASES` in `crates/engine/src/snapshot/phases.rs`), which has to agree: a new phase is one entry in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Phase:
    """One moment at which hooks run."""

    name: str
    arguments: tuple[str, ...]
    when: str
    may: str
    openresty: str
    scope: Literal["worker", "connection", "listener", "gateway", "route"] = "route"
    """`worker`: once for each worker, or in one; `connection`: also on single listeners; `listener`: only there;
    `gateway`: before a route is chosen; `route`: also on single routes."""
    reverse: bool = False
    """Whether hooks run in the reverse of the listed order, so that the first one listed is outermost."""
    can_respond: bool = False
    """Whether returning a `Response` ends the request with that response."""
    has_body: bool = False
    """Whether hooks get a body, in chunks or whole: `last` tells the last call."""
    without_route: bool = False
    """Whether hooks of the gateway run for requests that reach no route too."""
    to_server: bool = False
    """Whether hooks run only for requests that are forwarded to a server."""

    @property
    def description(self) -> str:
        """One line on when its hooks run and what they may do."""
        return f"{self.when[0].upper()}{self.when[1:]}: {self.may}."

    @property
    def on_routes(self) -> bool:
        """Whether single routes have hooks of it."""
        return self.scope == "route"

    @property
    def on_listeners(self) -> bool:
        """Whether single listeners for bytes or datagrams have hooks of it."""
        return self.scope in ("connection", "listener")


PHASES: dict[str, Phase] = {
    phase.name: phase
    for phase in (
        Phase(
            "startup",
            (),
            "a worker starts, before it accepts connections",
            "open pools, start tasks",
            "init_worker_by_lua",
            "worker",
        ),
        Phase(
            "shutdown",
            (),
            "a worker stops, after its last request",
            "close pools, end tasks",
            "exit_worker_by_lua",
            "worker",
            True,
        ),
        Phase(
            "server_state",
            ("change",),
            "a health check, an ejection or a command has changed the state of a server; in one worker",
            "notify, record",
            "(none)",
            "worker",
        ),
        Phase(
            "connect",
            ("connection",),
            "a connection was accepted, before its first byte of HTTP",
            "refuse it, set its limits",
            "preread_by_lua",
            "connection",
        ),
        Phase(
            "client_hello",
            ("connection",),
            "the ClientHello has arrived, on listeners with `tls` or `tls_passthrough`",
            "select the certificate, choose the upstream, request client certificates, refuse",
            "ssl_client_hello_by_lua, ssl_certificate_by_lua",
            "connection",
        ),
        Phase(
            "client_data",
            ("connection", "chunk"),
            "bytes or a datagram arrived from the client, on `tcp` and `udp` listeners",
            "replace the bytes, close the connection",
            "(none)",
            "listener",
        ),
        Phase(
            "server_data",
            ("connection", "chunk"),
            "bytes or a datagram arrived from the server, on `tcp` and `udp` listeners",
            "replace the bytes, close the connection",
            "(none)",
            "listener",
            True,
        ),
        Phase(
            "rewrite",
            ("request",),
            "the request head was read, before routing",
            "change method, target and headers; respond",
            "server_rewrite_by_lua",
            "gateway",
            can_respond=True,
            without_route=True,
        ),
        Phase(
            "request",
            ("request",),
            "the route was chosen",
            "authorize, respond, choose the upstream, change headers",
            "rewrite_by_lua, access_by_lua, content_by_lua",
            can_respond=True,
        ),
        Phase(
            "request_body",
            ("request", "chunk", "last"),
            "the request body is sent to a server",
            "keep, replace or drop a chunk; respond",
            "(none)",
            can_respond=True,
            has_body=True,
            to_server=True,
        ),
        Phase(
            "balance",
            ("request", "upstream"),
            "a server is chosen for an attempt",
            "pick the server; respond",
            "balancer_by_lua",
            can_respond=True,
            to_server=True,
        ),
        Phase(
            "upstream_request",
            ("request", "attempt"),
            "each attempt, before the request is sent",
            "sign, add headers; respond",
            "balancer_by_lua",
            can_respond=True,
            to_server=True,
        ),
        Phase(
            "retry",
            ("request", "failed"),
            "an attempt has failed, or its response has a status of `retries.on`, and would be repeated",
            "return False to keep what came of it",
            "balancer_by_lua",
            to_server=True,
        ),
        Phase(
            "response",
            ("request", "response"),
            "the response head has arrived",
            "change status and headers, replace the response",
            "header_filter_by_lua",
            reverse=True,
            can_respond=True,
        ),
        Phase(
            "response_body",
            ("request", "response", "chunk", "last"),
            "the response body is sent to the client",
            "keep, replace or drop a chunk; respond as long as nothing was sent",
            "body_filter_by_lua",
            reverse=True,
            can_respond=True,
            has_body=True,
        ),
        Phase(
            "websocket_message",
            ("request", "message"),
            "a WebSocket message arrived, from either side",
            "replace or drop it, send others, close the WebSocket",
            "resty.websocket",
            to_server=True,
        ),
        Phase(
            "error",
            ("request", "error"),
            "the request failed before a response started",
            "make the response",
            "error_page",
            reverse=True,
            can_respond=True,
            without_route=True,
        ),
        Phase(
            "log",
            ("request", "response"),
            "after the last byte",
            "record; never delays the client",
            "log_by_lua",
            reverse=True,
            without_route=True,
        ),
    )
}
"""Every phase by name, in the order of a request's life. A hook of any phase may be `def` or `async def`."""
