"""Certificates from Redis, for names that nobody has configured: hashes `certificates:NAME` of `certificate` and `key`.

Each worker keeps what it found for a minute, and longer while Redis is away.
"""

import os
import time

from headgate import Certificate, Connection, Gateway, Redis, RedisError, Tls

KEEP_S = float(os.environ.get("KEEP_S", "60"))
MOST = 10_000

gate = Gateway()
gate.listen(os.environ.get("LISTEN", ":8443"), tls=Tls())
gate.route("/", to=os.environ.get("ORIGIN", "127.0.0.1:9000"))
redis = Redis(os.environ.get("REDIS", "redis://127.0.0.1:6379"), decode_responses=True)
known: dict[str, tuple[float, Certificate | None]] = {}


async def find(name: str) -> Certificate | None:
    until, certificate = known.get(name, (0.0, None))
    if until < time.monotonic():
        try:
            stored = await redis.hgetall(f"certificates:{name}")
        except RedisError:
            return certificate  # the old one, if there was any
        try:
            certificate = Certificate(stored["certificate"], stored["key"]) if stored else None
        except (KeyError, ValueError):
            return certificate  # half written, or not a certificate
        if len(known) >= MOST:
            known.clear()
        known[name] = (time.monotonic() + KEEP_S, certificate)
    return certificate


@gate.client_hello(deadline="3s")
async def from_redis(connection: Connection) -> Certificate | None:
    name = connection.server_name or ""
    found = await find(name) or await find("*." + name.partition(".")[2])
    if found is None:
        connection.refuse(f"no certificate for `{name}`")
    return found
