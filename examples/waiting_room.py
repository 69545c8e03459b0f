"""A waiting room for a flash sale: so many visitors at a time, in the order they came; the others see their position.
A visitor is a number in a signed cookie; who is active keeps a seat, who asks again keeps a place in the queue."""

import hmac
import os
import re

from headgate import Gateway, Request, Response, ResponseView

gate = Gateway()
gate.listen(os.environ.get("LISTEN", "127.0.0.1:8080"))
room = gate.shared("room", "64m")
SECRET, SEATS = os.environ.get("SECRET", "change me").encode(), int(os.environ.get("SEATS", 100))
STAY_S, PATIENCE_S = float(os.environ.get("STAY_S", "300")), float(os.environ.get("PATIENCE_S", "30"))
PAGE = "<!doctype html><title>Please wait</title>You are number {} in the queue. This page asks again."


def signed(number: int) -> str:
    return f"{number}-{hmac.digest(SECRET, b'%d' % number, 'sha256').hex()}"


def give_seats() -> None:
    for seat in range(SEATS):
        while f"seat {seat}" not in room and (number := room.get("next", 1)) <= room.get("last", 0):
            room.set("next", number + 1)
            if room.delete(f"waits {number}"):  # else that visitor has left
                room.set(f"seat {seat}", number, STAY_S)
                room.set(f"in {number}", seat, STAY_S)


@gate.route("/", to=gate.upstream("shop", os.environ.get("ORIGIN", "127.0.0.1:9000")))
async def door(request: Request) -> Response | None:
    given = re.search(r"\bticket=(([0-9]{1,18})-[0-9a-f]{64})", request.headers.get("cookie", ""))
    number = int(given[2]) if given and hmac.compare_digest(given[1], signed(int(given[2]))) else 0
    async with room.lock("door", timeout="5s"):
        if f"in {number}" not in room and not room.expire(f"waits {number}", PATIENCE_S):
            number = room.incr("last")  # is new, or was away for too long
            room.set(f"waits {number}", True, PATIENCE_S)
        give_seats()
        if is_in := room.expire(f"in {number}", STAY_S):
            room.expire(f"seat {room.get(f'in {number}')}", STAY_S)
        ahead = sum(f"waits {one}" in room for one in range(room.get("next", 1), number))
    cookie = request.state.ticket = f"ticket={signed(number)}; Path=/; HttpOnly; SameSite=Lax"
    headers = {"set-cookie": cookie, "refresh": "5", "cache-control": "no-store", "content-type": "text/html"}
    return None if is_in else Response(503, PAGE.format(ahead + 1), headers=headers)


@door.response
def keep_ticket(request: Request, response: ResponseView) -> None:
    response.headers.add("set-cookie", request.state.ticket)
