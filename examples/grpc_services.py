"""gRPC and gRPC-Web behind one listener: by service, with who calls checked, and browsers' calls translated."""

from headgate import Gateway, Request, Response, Tls

gate = Gateway()
gate.listen("127.0.0.1:8080")  # callers without TLS speak HTTP/2 by prior knowledge
gate.listen(
    "127.0.0.1:8443", tls=Tls(local=["localhost"])
)  # a certificate for development; name files in service

# `h2` carries all four kinds of calls; with `grpc_web` browsers' calls become gRPC on the way
orders = gate.upstream(
    "orders", "127.0.0.1:50051", "127.0.0.1:50052", protocol="h2", grpc_web=True, balance="least_conn"
)
health = gate.upstream("health", "127.0.0.1:50051", protocol="h2")

# a stream may be silent for long
QUIET = {"client_body": "1h", "upstream_head": "1h", "upstream_idle": "1h"}

gate.route("/grpc.health.v1.Health/*", to=health)


@gate.route("/shop.Orders/*", to=orders, timeouts=QUIET)
def authenticate(request: Request) -> Response | None:
    """Metadata are header fields."""
    if not request.headers.get("authorization", "").startswith("Bearer "):
        return grpc_error(16, "who are you?")
    request.headers["x-method"] = request.path.rpartition("/")[2]
    return None


def grpc_error(status: int, message: str) -> Response:
    """A response that callers of gRPC take for a status of its own (16 is UNAUTHENTICATED)."""
    fields = {"content-type": "application/grpc", "grpc-status": str(status), "grpc-message": message}
    return Response(200, headers=fields)
