"""Balancing written by the user: a tenant stays on its server, and goes to the least busy one while that is out."""

import zlib

from headgate import Gateway, Request, ServerView, UpstreamView

gate = Gateway()
gate.listen("127.0.0.1:8080")
api = gate.upstream("api", "127.0.0.1:9000", "127.0.0.1:9001", "127.0.0.1:9002", retries=2)
tenants = gate.route("/", to=api)


@tenants.balance
def by_tenant(request: Request, upstream: UpstreamView) -> ServerView | None:
    """Runs before each attempt; returning nothing leaves the choice to the upstream's own way."""
    tenant = request.headers.get("x-tenant")
    if tenant is None:
        return None
    home = upstream.servers[zlib.crc32(tenant.encode(errors="replace")) % len(upstream.servers)]
    if home.is_available and not home.is_tried:
        return home
    others = [server for server in upstream.servers if not server.is_tried]
    return min(others, key=lambda server: server.requests, default=None)
