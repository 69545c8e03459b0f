"""A library that blocks runs in a thread, a function that computes in another process: no other request waits."""

import math
import os
import sqlite3

from headgate import Gateway, Overloaded, Request, Response

gate = Gateway()
gate.listen(os.environ.get("LISTEN", "127.0.0.1:8080"))
gate.background_limits(threads=8, max_waiting_jobs=16)
FILE = os.environ.get("PRICES", "prices.db")


def price(name: str) -> int | None:
    """Blocks while the disk is read."""
    with sqlite3.connect(FILE) as database:
        said = name.encode(errors="replace").decode()  # a path may hold bytes that are not UTF-8
        found = database.execute("select price from prices where name = ?", (said,)).fetchone()
    return found and found[0]


def primes(limit: int) -> int:
    """Computes: how many primes there are below a number."""
    sieve = bytearray([1]) * max(limit, 0)
    for number in range(2, math.isqrt(len(sieve)) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, len(sieve), number)))
    return sum(sieve[2:])


@gate.route("/prices/{name}")
async def show_price(request: Request) -> Response:
    """Waits for a thread."""
    found = await gate.run_in_thread(price, request.params["name"])
    return Response(404, "no such thing\n") if found is None else Response.json(found)


@gate.route("/primes/{limit}")
async def count_primes(request: Request) -> Response:
    """Waits for a process; when too many wait already, says so instead of letting the queue grow."""
    try:
        limit = min(int(request.params["limit"]), 50_000_000)
        return Response.json(await gate.run_in_process(primes, limit, timeout="20s"))
    except (Overloaded, TimeoutError):
        return Response(503, "busy, try again\n", headers={"retry-after": "5"})
    except ValueError:
        return Response(400, "below which number?\n")
