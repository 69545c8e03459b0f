"""What a rate that all nodes share costs Redis: scripts for each request of one key, at a steady pace.

    bench/rate_redis.py [--rate 1000] [--seconds 10] [--nodes 2] [--workers 2] [--batch 0.1]

Gateways with `rate-limit` share one Redis; kept connections ask at the pace of `--rate` in all, each request of the
same key. Redis counts by itself how many scripts it ran (INFO commandstats). The bar: 0.3 for each request.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import redis  # noqa: E402
from e2e.kit import services  # noqa: E402
from e2e.kit.gateway import Serve  # noqa: E402

REQUEST = b"GET /limited HTTP/1.1\r\nhost: bench\r\n\r\n"
CONNECTIONS = 20


async def ask(address: str, pause_s: float, until: float, statuses: Counter[str]) -> None:
    """Asks on one connection: late requests are made up for, so that the pace holds."""
    reader, writer = await asyncio.open_connection(*address.rsplit(":", 1))
    with contextlib.closing(writer):
        due = time.monotonic()
        while due < until:
            await asyncio.sleep(max(due - time.monotonic(), 0))
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            statuses[head[9:12].decode()] += 1
            due += pause_s


async def load(addresses: list[str], rate: float, seconds: float) -> Counter[str]:
    """What the requests got."""
    statuses: Counter[str] = Counter()
    until, every = time.monotonic() + seconds, addresses * CONNECTIONS
    await asyncio.gather(*(ask(address, len(every) / rate, until, statuses) for address in every))
    return statuses


def main() -> None:
    """Measures, and says so in a line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=1000, help="requests a second in all (1000)")
    parser.add_argument("--seconds", type=float, default=10, help="for how long (10)")
    parser.add_argument("--nodes", type=int, default=2, help="gateways (2)")
    parser.add_argument("--workers", type=int, default=2, help="workers of each (2)")
    parser.add_argument("--batch", type=float, default=0.1, help="`batch` of the plugin (0.1)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    with services.redis(folder) as url, redis.Redis.from_url(url) as server:
        config = {"rate": f"{options.rate:.0f}/s", "by": "path", "redis": url, "batch": options.batch}
        use = {"plugin": "rate-limit", "on": "/limited", "config": {**config, "redis_timeout": 1}}
        starter = Serve(folder)
        try:
            document = {"routes": [{"path": "/", "respond": "in"}], "plugins": [use]}
            addresses = [starter(document, workers=options.workers).address for _ in range(options.nodes)]
            server.config_resetstat()
            statuses = asyncio.run(load(addresses, options.rate, options.seconds))
        finally:
            starter.stop()
        found = server.info("commandstats")
    scripts = sum(found.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))
    asked = sum(statuses.values())
    print(
        f"{asked} requests in {options.seconds:g} s ({dict(statuses)}): {scripts} scripts, "
        f"{scripts / asked:.3f} for each"
    )


if __name__ == "__main__":
    main()
