"""One Redis GET a request in a hook, as `access_by_lua` with lua-nginx-redis does it."""

import os

from headgate import Gateway, Redis, Request

gate = Gateway()
gate.listen(os.environ.get("BENCH_REDIS", "127.0.0.1:22023"))
redis = Redis(os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:21099"), decode_responses=True)


@gate.route("/", to=os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))
async def access(request: Request) -> None:
    """The origin is told what Redis knows."""
    request.headers["x-seen"] = await redis.get("k")
