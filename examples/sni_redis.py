"""Backends from Redis: TLS by its server name, undecrypted, and HTTP by its Host go to the members of a set in turn."""

import os
import time

from redis.asyncio import Redis

from headgate import Connection, Gateway, Request, Response

gate = Gateway()
gate.listen(os.environ.get("SNI_HTTP", ":8080"))
gate.listen_tcp(os.environ.get("SNI_TLS", ":8443"), tls_passthrough=True)
redis = Redis.from_url(os.environ.get("SNI_REDIS", "redis://127.0.0.1:6379"), decode_responses=True)
cache: dict[str, tuple[float, list[str]]] = {}


async def backend(host: str, fallback: str) -> str | None:
    until, known = cache.get(host + fallback, (0.0, []))
    if len(cache) > 10_000:
        cache.clear()
    if until < time.monotonic():
        known = list(await redis.smembers(f"hostnames:{host}:backends") or await redis.smembers(fallback))
        cache[host + fallback] = (time.monotonic() + 5, known)  # for 5 s nobody asks again
    return ",".join(sorted(known)) or None  # in turn, and the next one where a server is down


@gate.client_hello
async def https(connection: Connection) -> None:
    connection.upstream = await backend(connection.server_name or "", "hostnames:httpsDefaultBackends")


@gate.route("/")
async def http(request: Request) -> Response | None:
    host = request.host.partition(":")[0].lower()
    if found := await backend(host, "hostnames:httpDefaultBackends"):
        request.upstream = found
        return None
    return Response(502, "no backend for this host")
