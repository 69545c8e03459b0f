"""A remote JSON feed, filtered, and kept for 300 s in each worker; one fetch at a time, the old one if that fails."""

import asyncio
import os
import time

import headgate
from headgate import Gateway, Response

FEED = os.environ.get("FEED", "http://127.0.0.1:9000/feed.json")
KEEP_S = 300
MOST = 1_000_000
"""No price is higher: `1e999`, which JSON may say, is infinite here."""

gate = Gateway()
gate.listen(os.environ.get("LISTEN", "127.0.0.1:8080"))


class Feed:
    """The items for sale, as of at most `KEEP_S` ago."""

    def __init__(self):
        self.items = None
        self.until = 0.0
        self.lock = asyncio.Lock()

    async def current(self):
        async with self.lock:  # others wait for the one that fetches
            if time.monotonic() > self.until:
                try:
                    response = await headgate.fetch(FEED, timeout=5)
                    if response.status != 200:
                        raise ValueError(f"the feed responds with {response.status}")
                    feed = await response.json(max_bytes=1 << 20)
                    fields = ((item["id"], item["price"]) for item in feed["items"])
                    self.items = [{"id": one, "price": price} for one, price in fields if 0 < price < MOST]
                    self.until = time.monotonic() + KEEP_S
                except (headgate.FetchError, ValueError, KeyError, TypeError):
                    self.until = time.monotonic() + 5  # the old one for a while
        return self.items


feed = Feed()


@gate.route("/sale")
async def sale(request):
    items = await feed.current()
    return Response(503, "no feed yet") if items is None else Response.json(items)
