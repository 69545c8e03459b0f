"""A Python function as a matcher: one client in ten, and always the same ones, gets the new version."""

import zlib

from headgate import Gateway, Request

gate = Gateway()
gate.listen("127.0.0.1:8080")
stable = gate.upstream("stable", "127.0.0.1:9001")
canary = gate.upstream("canary", "127.0.0.1:9002")


def is_chosen(request: Request) -> bool:
    """Asked last, when all else of the route has matched."""
    user = request.headers.get("x-user") or request.client.address
    return zlib.crc32(user.encode(errors="replace")) % 10 == 0


gate.route("/", when=is_chosen, to=canary, name="canary", priority=1)
gate.route("/", to=stable, name="stable")
